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

#define SCHED_EXT_POLICY 7 /* SCHED_EXT of include/uapi/linux/sched.h, which older C libraries lack */

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
	process->output.fd = process->errors.fd = -1;
	process->next = processes;
	processes = process;
	return process;
}

static void close_output(struct output *output)
{
	if (output->fd < 0)
		return;
	events_remove(output->fd);
	close(output->fd);
	output->fd = -1;
}

void process_close_logs(struct process *process)
{
	close_output(&process->output);
	close_output(&process->errors);
}

/* What there is, up to a little more than most. */
static void read_output(struct output *output, size_t most)
{
	size_t taken = 0;
	char text[8192];

	while (output->fd >= 0 && taken < most) {
		ssize_t n = read(output->fd, text, sizeof(text));

		if (n < 0)
			break;
		if (n == 0)
			close_output(output);
		keeplog_add(&output->log, text, (size_t)n);
		taken += (size_t)n;
	}
}

void process_drain(struct process *process)
{
	read_output(&process->output, PIPE_BYTES);
	read_output(&process->errors, PIPE_BYTES);
}

static void on_output(int fd, void *context)
{
	read_output(context, TURN_BYTES);
	events_pause(fd, now_ns() + TURN_PAUSE_NS);
}

static bool scheduled_as(const struct process_spec *spec)
{
	static const int policies[] = {
		[KTSTR_POLICY_NORMAL] = SCHED_OTHER, [KTSTR_POLICY_BATCH] = SCHED_BATCH,
		[KTSTR_POLICY_IDLE] = SCHED_IDLE,    [KTSTR_POLICY_FIFO] = SCHED_FIFO,
		[KTSTR_POLICY_RR] = SCHED_RR,	     [KTSTR_POLICY_DEADLINE] = -1, /* it has no reservation */
		[KTSTR_POLICY_EXT] = SCHED_EXT_POLICY,
	};
	struct sched_param param = { .sched_priority = spec->priority };

	if (spec->policy != KTSTR_POLICY_NORMAL && sched_setscheduler(0, policies[spec->policy], &param) < 0)
		return false;
	return !spec->nice || setpriority(PRIO_PROCESS, 0, spec->nice) == 0;
}

static bool pinned_as(const struct process_spec *spec)
{
	return !spec->affinity || syscall(SYS_sched_setaffinity, 0, sizeof(*spec->affinity), spec->affinity) == 0;
}

void process_exec(const struct process_spec *spec, const struct process_fds *fds)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	sigset_t none;
	int error;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(fds->output, 1);
	dup2(fds->errors, 2);
	if ((!spec->folder || chdir(spec->folder) == 0) && pinned_as(spec) && scheduled_as(spec))
		execve(spec->argv[0], (char *const *)spec->argv, (char *const *)spec->environment);
	error = errno;
	if (write(fds->failure, &error, sizeof(error)) != sizeof(error))
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

static int fork_and_exec(struct process *process, const struct process_spec *spec, struct process_fds *fds)
{
	int failure[2], error;
	pid_t pid;

	if (pipe2(failure, O_CLOEXEC | O_NONBLOCK) < 0)
		return errno;
	fds->failure = failure[1];
	pid = cgroup_fork(spec->cgroup_fd);
	if (pid == 0)
		process_exec(spec, fds);
	error = errno;
	close(failure[1]);
	if (pid > 0) {
		process->pid = pid;
		error = await_exec(failure[0]);
	}
	close(failure[0]);
	return error;
}

/* Gives the end that the program is to write to, or -1 with errno. */
static int open_output(struct output *output)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	output->fd = ends[0];
	if (events_add(ends[0], on_output, output))
		return ends[1];
	close(ends[0]);
	close(ends[1]);
	output->fd = -1;
	errno = ENOMEM;
	return -1;
}

int process_start(struct process *process, const struct process_spec *spec)
{
	struct process_fds fds;
	int error = 0;

	process_close_logs(process); /* a grandchild of the last start may have kept them open */
	process->pid = 0;
	process->ended = false;
	fds.output = open_output(&process->output);
	if (fds.output < 0)
		return errno;
	fds.errors = spec->errors_apart ? open_output(&process->errors) : fds.output;
	if (fds.errors < 0)
		error = errno;
	else
		error = fork_and_exec(process, spec, &fds);
	close(fds.output);
	if (spec->errors_apart && fds.errors >= 0)
		close(fds.errors);
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

void process_strings(const struct program *program, uint32_t first, uint32_t count, const char **ret)
{
	const char *text = program_string(program, first);

	for (uint32_t i = 0; i < count; i++) {
		ret[i] = text;
		text += strlen(text) + 1;
	}
}

void process_argv(const struct program *program, uint32_t payload, const char **argv)
{
	const struct ktstr_payload *declared = &program->payloads[payload];

	process_strings(program, declared->argv, declared->argc, argv);
	argv[declared->argc] = NULL;
}
