// SPDX-License-Identifier: GPL-2.0-only
#include "proc/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/events.h"
#include "base/run.h"
#include "proc/cgroup.h"

#define PIPE_BYTES (1 << 20) /* it must not block while the agent is busy */
/* One that writes without end, much or little at a time, takes this of the agent, and no more. */
#define TURN_BYTES (64 << 10)
#define TURN_PAUSE_NS UINT64_C(5000000)

static struct process *processes;

static bool on_child(pid_t pid, int status)
{
	for (struct process *process = processes; process; process = process->next) {
		if (process->pid != pid || process->ended)
			continue;
		process->ended = true;
		process->status = status;
		process_drain(process);
		if (process->on_end)
			process->on_end(process);
		return true;
	}
	return false;
}

struct process *process_new(void)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process)
		return NULL;
	if (!processes)
		events_on_child(on_child);
	process->log_fd = -1;
	process->next = processes;
	processes = process;
	return process;
}

void process_close_log(struct process *process)
{
	if (process->log_fd < 0)
		return;
	events_remove(process->log_fd);
	close(process->log_fd);
	process->log_fd = -1;
}

/* What there is, up to a little more than most. */
static void read_log(struct process *process, size_t most)
{
	size_t taken = 0;
	char text[8192];

	while (process->log_fd >= 0 && taken < most) {
		ssize_t n = read(process->log_fd, text, sizeof(text));

		if (n < 0)
			break;
		if (n == 0)
			process_close_log(process);
		keeplog_add(&process->log, text, (size_t)n);
		taken += (size_t)n;
	}
}

void process_drain(struct process *process)
{
	read_log(process, PIPE_BYTES);
}

static void on_log(int fd, void *context)
{
	read_log(context, TURN_BYTES);
	events_pause(fd, now_ns() + TURN_PAUSE_NS);
}

void process_exec(const struct process_spec *spec, int output, int error_fd)
{
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
	if ((!spec->folder || chdir(spec->folder) == 0) &&
	    (!spec->affinity || syscall(SYS_sched_setaffinity, 0, sizeof(*spec->affinity), spec->affinity) == 0))
		execve(spec->argv[0], (char *const *)spec->argv, (char *const *)spec->environment);
	error = errno;
	if (write(error_fd, &error, sizeof(error)) != sizeof(error))
		_exit(126);
	_exit(127);
}

static void on_exec(int fd, void *context)
{
	(void)fd;
	(void)context; /* who waits for it looks by itself */
}

/* Exec closes it, or who could not writes why. A scheduler that stalls keeps it from both: the run may end first. */
static int await_exec(int fd)
{
	int error = 0;
	ssize_t n;

	if (!events_add(fd, on_exec, NULL))
		return ENOMEM;
	while ((n = read(fd, &error, sizeof(error))) < 0 && errno == EAGAIN && !run_aborting())
		events_wait(UINT64_MAX);
	events_remove(fd);
	if (n < 0)
		return ECANCELED;
	return n == sizeof(error) ? error : 0;
}

static int fork_and_exec(struct process *process, const struct process_spec *spec, int output)
{
	int errors[2], error;
	pid_t pid;

	if (pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0)
		return errno;
	pid = cgroup_fork(spec->cgroup_fd);
	if (pid == 0)
		process_exec(spec, output, errors[1]);
	error = errno;
	close(errors[1]);
	if (pid > 0) {
		process->pid = pid;
		error = await_exec(errors[0]);
	}
	close(errors[0]);
	return error;
}

int process_start(struct process *process, const struct process_spec *spec)
{
	int output[2], error = ENOMEM;

	if (pipe2(output, O_CLOEXEC) < 0)
		return errno;
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	fcntl(output[1], F_SETPIPE_SZ, PIPE_BYTES);
	process_close_log(process); /* a grandchild of the last start may have kept it open */
	process->pid = 0;
	process->ended = false;
	process->log_fd = output[0];
	if (events_add(output[0], on_log, process))
		error = fork_and_exec(process, spec, output[1]);
	close(output[1]);
	if (error && process->pid && !process->ended)
		kill(process->pid, SIGKILL);
	return error;
}

void process_signal(struct process *process, int signal)
{
	if (process->pid > 0)
		kill(-process->pid, signal);
}

bool process_await(struct process *process, uint64_t until_ns)
{
	bool late = run_status() == KTSTR_END_DEADLINE;

	/* When the deadline comes while we wait there is no more time. */
	while (!process->ended && now_ns() < until_ns && (late || run_status() != KTSTR_END_DEADLINE))
		events_wait(until_ns);
	return process->ended;
}

void process_argv(const struct program *program, uint32_t payload, const char **argv)
{
	const char *text = program_string(program, program->payloads[payload].argv);

	for (uint32_t i = 0; i < program->payloads[payload].argc; i++) {
		argv[i] = text;
		text += strlen(text) + 1;
	}
	argv[program->payloads[payload].argc] = NULL;
}
