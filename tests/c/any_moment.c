// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker is told to stop at each moment before it blocks, one instruction after the other, and has to end. What the
 * agent does then (worker.c, stop_living) is done here by a tracer. argv[1]: where it blocks. Prints how many moments.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work/work.h"

#define ARENA_BYTES (1 << 16)
#define SAMPLE_ROOM 64
#define MOST_MOMENTS 20000
#define PATIENCE_S 5
#define SYSCALL 0x050f /* the instruction */
#define HOUR_NS UINT64_C(3600000000000)

/* Time stands still: a worker that is stepped is slow, and would take other ways to measure that. */
static struct timespec began;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	(void)clock;
	*ret = began;
	return 0;
}

static struct slot *slot;
static int ready_fd, sink_fd, pipe_fds[2];

/* Steps begin after the call of some number that comes last before the one that blocks, the first or second such. */
static const struct place {
	const char *name;
	uint32_t type;
	uint32_t gate;
	uint64_t start_offset_ns;
	unsigned long long after;
	int calls;
	unsigned long long blocks;
} places[] = {
	{ "gate", KTSTR_WORK_SPIN_WAIT, GATE_CLOSED, 0, SYS_write, 1, SYS_futex },
	{ "start offset", KTSTR_WORK_SPIN_WAIT, GATE_OPEN, HOUR_NS, SYS_write, 1, SYS_clock_nanosleep },
	{ "pipe", KTSTR_WORK_PIPE_IO, GATE_OPEN, 0, SYS_write, 2, SYS_read },
	{ "futex", KTSTR_WORK_FUTEX_PING_PONG, GATE_OPEN, 0, SYS_futex, 1, SYS_futex },
};

__attribute__((noreturn)) static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void prepare(const struct place *place)
{
	uint8_t *arena = (uint8_t *)slot;

	memset(slot, 0, ARENA_BYTES);
	slot->type = place->type;
	slot->gate = place->gate;
	slot->start_offset_ns = place->start_offset_ns;
	slot->release_ns = now_ns();
	slot->shared = arena + ARENA_BYTES / 2;
	slot->shared_bytes = ARENA_BYTES / 4;
	reservoir_init(&slot->wakes, (void *)(arena + ARENA_BYTES / 4), SAMPLE_ROOM, 0);
	reservoir_init(&slot->requests, slot->wakes.samples + SAMPLE_ROOM, 0, 0);
	slot->read_fd = pipe_fds[0];
	slot->write_fd = sink_fd;
	slot->partner_read_fd = slot->partner_write_fd = -1;
}

static struct user_regs_struct registers(pid_t pid)
{
	struct user_regs_struct now;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &now) < 0)
		fail("PTRACE_GETREGS");
	return now;
}

static void go_on(pid_t pid, int how)
{
	int status;

	if (ptrace(how, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		fail("the worker does not stop");
}

/* A worker that has just done the call after which it is stepped. The first write says that it is ready. */
static pid_t start(const struct place *place)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		work_main(slot, ready_fd);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		fail("no worker that can be traced");
	for (int i = 0; i < place->calls; i++)
		do {
			go_on(pid, PTRACE_SYSCALL);
			go_on(pid, PTRACE_SYSCALL); /* its return */
		} while (registers(pid).orig_rax != place->after);
	return pid;
}

static bool is_at_call(pid_t pid, unsigned long long number)
{
	struct user_regs_struct now = registers(pid);

	return now.rax == number && (ptrace(PTRACE_PEEKTEXT, pid, (void *)now.rip, NULL) & 0xffff) == SYSCALL;
}

static void stop(pid_t pid)
{
	atomic_store(&slot->stop, 1);
	if (atomic_load(&slot->gate) == GATE_CLOSED)
		atomic_store(&slot->gate, GATE_STOPPED);
	syscall(SYS_futex, &slot->gate, FUTEX_WAKE, 1, NULL, NULL, 0);
	kill(pid, WORK_STOP_SIGNAL);
}

static bool ends(pid_t pid)
{
	const struct timespec pause = { 0, 20000 };
	time_t until = time(NULL) + PATIENCE_S;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (time(NULL) > until) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return false;
		}
		nanosleep(&pause, NULL);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 && slot->report.completed;
}

/* Whether a worker that is stopped after so many instructions ends. Gives also whether the next one blocks. */
static bool ends_after(const struct place *place, int instructions, bool *blocks)
{
	pid_t pid;

	prepare(place);
	pid = start(place);
	for (int i = 0; i < instructions; i++)
		go_on(pid, PTRACE_SINGLESTEP);
	*blocks = is_at_call(pid, place->blocks);
	stop(pid);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return ends(pid);
}

int main(int argc, char **argv)
{
	const struct place *place = places;
	bool blocks = false;
	int moments = 0;

	while (argc != 2 || strcmp(place->name, argv[1]) != 0)
		if (++place == places + sizeof(places) / sizeof(places[0]))
			return 2;
	slot = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &began);
	ready_fd = eventfd(0, EFD_NONBLOCK);
	sink_fd = open("/dev/null", O_WRONLY);
	if (slot == MAP_FAILED || ready_fd < 0 || sink_fd < 0 || pipe(pipe_fds) < 0)
		fail("setting up");
	for (; !blocks && moments < MOST_MOMENTS; moments++)
		if (!ends_after(place, moments, &blocks)) {
			printf("told to stop %d instructions before or in the %s, it did not end\n", moments, place->name);
			return 1;
		}
	printf("%d\n", moments);
	return 0;
}
