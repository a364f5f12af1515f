// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that are followed, on this host: each asks bpf(2) for what every kernel refuses everybody,
 * and sees for itself that it was answered as if nobody had looked.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_test.h"
#include "proc/refusal.h"
#include "proc/tracee.h"

static struct refusal refusal;
static int status;

/* What follows is the tracer's: it has no other child. */
static void follow(void (*loader)(void))
{
	int go[2];
	char byte;
	pid_t pid;

	memset(&refusal, 0, sizeof(refusal));
	refusal.command = KTSTR_REFUSED_NOTHING;
	CHECK(pipe(go) == 0 && (pid = fork()) >= 0);
	if (pid == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(125);
		loader();
		_exit(0);
	}
	CHECK(tracee_follow(pid, go[1], &refusal, &status) == 0);
}

static long ask(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr)) < 0 ? errno : 0;
}

/* Too few instructions, and none of them anywhere: refused whoever asks. */
static long load_nothing(union bpf_attr *attr)
{
	attr->prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr->insns = 8;
	strcpy(attr->prog_name, "nothing");
	return ask(BPF_PROG_LOAD, attr);
}

static void make_no_map(void)
{
	union bpf_attr attr = { .map_type = 0xffff, .key_size = 4, .map_name = "no_map" };

	if (!ask(BPF_MAP_CREATE, &attr))
		_exit(1);
}

TEST(a_map_that_is_refused_is_seen)
{
	follow(make_no_map);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(refusal.calls == 1 && refusal.command == BPF_MAP_CREATE && refusal.error > 0);
	CHECK(strcmp(refusal.name, "no_map") == 0);
	CHECK(strncmp(refusal.log, "map of type 65535, 4 bytes for a key, ", 38) == 0);
}

/* Asked in it once more with a log: the answer, its registers and its memory are as they were. */
static void load_without_log(void)
{
	union bpf_attr attr = { 0 }, before;
	long first, second;

	first = load_nothing(&attr);
	before = attr;
	second = load_nothing(&attr);
	if (!first || first != second || memcmp(&attr, &before, sizeof(attr)) != 0)
		_exit(1);
}

TEST(a_program_without_a_log_is_asked_for_again_unnoticed)
{
	follow(load_without_log);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(refusal.calls == 2 && refusal.command == BPF_PROG_LOAD && strcmp(refusal.name, "nothing") == 0);
}

/* A log that ends with the page it is in, and no page after it. */
static void load_with_a_log(void)
{
	union bpf_attr attr = { .log_level = 1, .log_size = 1 << 30 };
	static char text[8192] __attribute__((aligned(4096)));

	strcpy(text, "of its own");
	attr.log_buf = (uintptr_t)text;
	if (!load_nothing(&attr))
		_exit(1);
}

TEST(the_loaders_own_log_is_read)
{
	follow(load_with_a_log);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(refusal.command == BPF_PROG_LOAD);
	/* The kernel may have begun a log of its own before it refused. */
	CHECK(refusal.log_bytes <= 10);
}

static void point_nowhere(void)
{
	if (syscall(SYS_bpf, BPF_PROG_LOAD, (void *)8, sizeof(union bpf_attr)) == 0)
		_exit(1);
}

TEST(a_call_that_points_nowhere_is_seen)
{
	follow(point_nowhere);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(refusal.command == BPF_PROG_LOAD && refusal.error > 0 && refusal.name[0] == '\0');
}

static void *from_a_thread(void *unused)
{
	make_no_map();
	return unused;
}

/* Threads, a child of its own, and signals: all go on, and are seen. */
static void be_many(void)
{
	pthread_t thread;
	int how;

	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	if (pthread_create(&thread, NULL, from_a_thread, NULL) || pthread_join(thread, NULL))
		_exit(1);
	if (fork() == 0) {
		make_no_map();
		_exit(7);
	}
	if (wait(&how) < 0 || !WIFEXITED(how) || WEXITSTATUS(how) != 7)
		_exit(2);
	raise(SIGTERM);
}

TEST(threads_children_and_signals_go_on)
{
	follow(be_many);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK(refusal.calls == 2 && refusal.command == BPF_MAP_CREATE);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	RUN(a_map_that_is_refused_is_seen)
	RUN(a_program_without_a_log_is_asked_for_again_unnoticed)
	RUN(the_loaders_own_log_is_read)
	RUN(a_call_that_points_nowhere_is_seen)
	RUN(threads_children_and_signals_go_on)
	return 2;
}
