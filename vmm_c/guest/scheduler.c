// SPDX-License-Identifier: GPL-2.0-only
#include "scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "events.h"
#include "keeplog.h"
#include "kmsg.h"
#include "program.h"
#include "report.h"
#include "run.h"
#include "scx.h"
#include "uevent.h"

#define POLL_NS UINT64_C(5000000) /* while attaching and detaching; uevents usually come first */
#define LAST_WORDS_NS UINT64_C(1500000000) /* loaders look at their exit flag once a second */
#define SETTLE_NS UINT64_C(200000000)

enum phase {
	NONE,
	STARTING, /* exec'd, not attached yet */
	ATTACHED,
	STOPPING, /* we asked */
	LOST, /* died, was evicted or never attached */
	STOPPED,
};

static enum phase phase = NONE;
static pid_t pid;
static bool process_ended;
static int process_status;
static int log_fd = -1;
static struct keeplog kept;
static int64_t attach_seq;
static bool evicted;
static uint32_t events_sent;

static void send_event(enum ktstr_sched kind, int code, const char *text)
{
	struct ktstr_msg_sched_event msg = { .at_ns = run_at_ns(), .kind = kind, .code = code };
	size_t bytes = strlen(text);

	if (events_sent++ >= KTSTR_MAX_SCHED_EVENTS)
		return;
	if (bytes > KTSTR_MAX_TEXT_BYTES)
		bytes = KTSTR_MAX_TEXT_BYTES;
	channel_send(KTSTR_MSG_SCHED_EVENT, &msg, sizeof(msg), text, bytes);
	scheduler_send_logs();
	channel_flush();
}

static void send_process_end(void)
{
	if (WIFSIGNALED(process_status))
		send_event(KTSTR_SCHED_SIGNALED, WTERMSIG(process_status), strsignal(WTERMSIG(process_status)));
	else
		send_event(KTSTR_SCHED_EXITED, WEXITSTATUS(process_status), "");
}

static void read_log(int fd)
{
	char text[8192];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0)
		keeplog_add(&kept, text, (size_t)n);
	if (n == 0) {
		events_remove(fd);
		close(fd);
		log_fd = -1;
	}
}

static void sink(const char *text, size_t bytes)
{
	while (bytes) {
		size_t n = bytes < KTSTR_MAX_PAYLOAD ? bytes : KTSTR_MAX_PAYLOAD;

		channel_send(KTSTR_MSG_SCHED_LOG, text, n, NULL, 0);
		text += n;
		bytes -= n;
	}
}

void scheduler_send_logs(void)
{
	if (log_fd >= 0)
		read_log(log_fd);
	keeplog_take_head(&kept, sink);
	kmsg_send(false);
}

/* Its own doing or the kernel's: the order of the two events says which came first. */
static void lose(void)
{
	bool unregistered;

	phase = LOST;
	run_abort(KTSTR_END_SCHED_LOST);
	for (uint64_t until = now_ns() + SETTLE_NS; !scx_disabled() && now_ns() < until;)
		events_wait(now_ns() + POLL_NS);
	kmsg_drain();
	unregistered = kmsg_recent_has("unregistered from user space");
	/* A dying process detaches a moment before it can be waited for. */
	for (uint64_t until = now_ns() + SETTLE_NS; unregistered && !process_ended && now_ns() < until;)
		events_wait(until);
	if (process_ended && unregistered)
		send_process_end();
	evicted = !scx_enabled() || scx_enable_seq() != attach_seq;
	if (evicted)
		send_event(KTSTR_SCHED_EVICTED, 0, kmsg_recent());
	if (process_ended && !unregistered)
		send_process_end();
}

void scheduler_check(void)
{
	if (phase == ATTACHED && (process_ended || !scx_enabled() || scx_enable_seq() != attach_seq))
		lose();
}

static bool on_child(pid_t child, int status)
{
	if (child != pid || process_ended)
		return false;
	process_ended = true;
	process_status = status;
	if (log_fd >= 0)
		read_log(log_fd);
	scheduler_check();
	return true;
}

static void on_uevent(int fd)
{
	uevent_drain(fd);
	scheduler_check();
}

/* In the child. What it inherits from PID 1 is undone: descriptors, signals, standard input. */
__attribute__((noreturn)) static void exec_scheduler(const char **argv, int output, int error_fd)
{
	static char *const environment[] = {
		"PATH=/sched/bin:/bin:/usr/bin", "LD_LIBRARY_PATH=/sched/lib", "HOME=/tmp", "TERM=dumb",
		"RUST_LOG=info", NULL,
	};
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	sigset_t none;
	int error;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(output, 1);
	dup2(output, 2);
	execve(argv[0], (char *const *)argv, environment);
	error = errno;
	if (write(error_fd, &error, sizeof(error)) != sizeof(error))
		_exit(126);
	_exit(127);
}

/* Returns 0 once exec succeeded, else its errno. */
static int spawn(const char **argv)
{
	int output[2], error_pipe[2], error = 0;

	if (pipe2(output, O_CLOEXEC) < 0 || pipe2(error_pipe, O_CLOEXEC) < 0)
		return errno;
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	fcntl(output[1], F_SETPIPE_SZ, 1 << 20); /* it must not block while the agent is busy */
	pid = fork();
	if (pid == 0)
		exec_scheduler(argv, output[1], error_pipe[1]);
	if (pid < 0)
		error = errno;
	close(output[1]);
	close(error_pipe[1]);
	if (pid > 0 && read(error_pipe[0], &error, sizeof(error)) != sizeof(error))
		error = 0; /* closed by exec */
	close(error_pipe[0]);
	log_fd = output[0];
	events_add(log_fd, read_log);
	return error;
}

/* The kernel sets the state first and counts a moment later: before it counted, a count read now would change. */
static bool attach_counted(void)
{
	return attach_seq < 0 || scx_enable_seq() != attach_seq;
}

/* attach_seq is what it was before the process started. */
static void await_attach(uint64_t timeout_ns)
{
	uint64_t until = now_ns() + timeout_ns;
	char name[256];

	while (!run_aborting()) {
		/* Attached and gone again between two looks: only the count tells. */
		if (scx_enable_seq() != attach_seq && !scx_enabled()) {
			lose();
			return;
		}
		if (process_ended) {
			phase = LOST;
			send_process_end();
			run_abort(KTSTR_END_SCHED_LOST);
			return;
		}
		if (scx_enabled() && attach_counted() && scx_ops_name(name, sizeof(name))) {
			attach_seq = scx_enable_seq();
			phase = ATTACHED;
			send_event(KTSTR_SCHED_ATTACHED, 0, name);
			kmsg_forget();
			return;
		}
		if (now_ns() >= until) {
			phase = LOST;
			snprintf(name, sizeof(name), "not attached after %llu ms",
				 (unsigned long long)timeout_ns / 1000000);
			send_event(KTSTR_SCHED_ATTACH_TIMEOUT, 0, name);
			run_abort(KTSTR_END_SCHED_LOST);
			return;
		}
		events_wait(now_ns() + POLL_NS < until ? now_ns() + POLL_NS : until);
	}
}

void scheduler_start(const struct ktstr_op_start_scheduler *op)
{
	const char *argv[KTSTR_MAX_ARGS + 1];
	int error;

	if (!scx_present()) {
		run_error("this kernel has no sched_ext: /sys/kernel/sched_ext/state is absent (CONFIG_SCHED_CLASS_EXT)");
		return;
	}
	if (phase == NONE) {
		events_on_child(on_child);
		events_add(uevent_open(), on_uevent);
	}
	kmsg_begin();
	op_scheduler_argv(op, argv);
	process_ended = false;
	attach_seq = scx_enable_seq();
	error = spawn(argv);
	if (error) {
		phase = LOST;
		send_event(KTSTR_SCHED_SPAWN_FAILED, error, strerror(error));
		run_abort(KTSTR_END_SCHED_LOST);
		return;
	}
	phase = STARTING;
	send_event(KTSTR_SCHED_STARTED, 0, argv[0]);
	await_attach(op->attach_timeout_ns);
}

static bool await_end(uint64_t timeout_ns)
{
	for (uint64_t until = now_ns() + timeout_ns; !process_ended && now_ns() < until;)
		events_wait(until);
	return process_ended;
}

static bool await_disabled(uint64_t until)
{
	while (!scx_disabled() && now_ns() < until)
		events_wait(now_ns() + POLL_NS);
	return scx_disabled();
}

void scheduler_stop(uint64_t timeout_ns)
{
	uint64_t until = now_ns() + timeout_ns;
	char text[128] = "";
	int code;

	scheduler_check();
	if (phase != ATTACHED)
		return;
	phase = STOPPING;
	kill(-pid, SIGINT);
	if (!await_end(timeout_ns)) {
		snprintf(text, sizeof(text), "did not end on SIGINT within %llu ms, killed",
			 (unsigned long long)timeout_ns / 1000000);
		kill(-pid, SIGKILL);
		await_end(SETTLE_NS);
		until = now_ns() + SETTLE_NS;
	}
	code = WIFSIGNALED(process_status) ? 128 + WTERMSIG(process_status) : WEXITSTATUS(process_status);
	phase = STOPPED;
	if (await_disabled(until))
		send_event(KTSTR_SCHED_DETACHED, code, text);
	else
		send_event(KTSTR_SCHED_DETACH_FAILED, code, text[0] ? text : "still enabled after its process ended");
}

void scheduler_finish(void)
{
	if (phase == NONE)
		return;
	scheduler_check();
	if (pid > 0 && !process_ended && run_status() != KTSTR_END_DEADLINE) {
		/* An evicted loader tells why in its own words, if it is given the time. */
		if (evicted && await_end(LAST_WORDS_NS))
			send_process_end();
		phase = STOPPED;
		kill(-pid, SIGKILL);
		await_end(SETTLE_NS);
	}
	if (log_fd >= 0)
		read_log(log_fd);
	keeplog_take_all(&kept, sink);
	kmsg_send(true);
}
