// SPDX-License-Identifier: GPL-2.0-only
#include "proc/retry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/events.h"
#include "base/run.h"
#include "proc/refusal.h"
#include "proc/tracee.h"
#include "watch/scx.h"
#include "wire/channel.h"

#define POLL_NS UINT64_C(5000000)
#define SETTLE_NS UINT64_C(200000000)

_Static_assert(KTSTR_BPF_NAME_BYTES == BPF_OBJ_NAME_LEN, "names fit");

/* What the tracer, a process between the agent and the loader, leaves for the agent. */
struct trace {
	struct refusal refusal;
	int error;
	int status;
	bool ended; /* all of the above is so */
};

static bool gone;

static void on_gone(int fd, void *context)
{
	(void)context;
	gone = true;
	events_remove(fd); /* it stays readable */
}

__attribute__((noreturn)) static void run_loader(const struct process_spec *spec, const int go[2])
{
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	const struct process_fds fds = { nowhere, nowhere, nowhere };
	char byte;

	close(go[1]);
	if (read(go[0], &byte, 1) != 1)
		_exit(126);
	process_exec(spec, &fds);
}

__attribute__((noreturn)) static void run_tracer(const struct process_spec *spec, struct trace *trace)
{
	int go[2];
	pid_t pid;

	trace->error = EAGAIN;
	trace->refusal.command = KTSTR_REFUSED_NOTHING;
	if (pipe2(go, O_CLOEXEC) == 0 && (pid = fork()) >= 0) {
		if (pid == 0)
			run_loader(spec, go);
		trace->error = tracee_follow(pid, go[1], &trace->refusal, &trace->status);
	}
	trace->ended = true;
	_exit(0);
}

static void await_tracer(uint64_t until, bool while_detached)
{
	while (!gone && now_ns() < until && run_status() != KTSTR_END_DEADLINE &&
	       !(while_detached && scx_enabled()))
		events_wait(now_ns() + POLL_NS < until ? now_ns() + POLL_NS : until);
}

static enum ktstr_retry outcome_of(const struct trace *trace, bool attached)
{
	if (attached)
		return KTSTR_RETRY_ATTACHED;
	if (!trace->ended)
		return KTSTR_RETRY_TIMED_OUT;
	if (trace->error)
		return KTSTR_RETRY_UNTRACED;
	return trace->refusal.command == KTSTR_REFUSED_NOTHING ? KTSTR_RETRY_ACCEPTED : KTSTR_RETRY_REFUSED;
}

static void send_refusal(const struct trace *trace, enum ktstr_retry outcome, int first_status)
{
	const struct refusal *refusal = &trace->refusal;
	struct ktstr_msg_sched_refusal msg = {
		.at_ns = run_at_ns(),
		.outcome = outcome,
		.command = KTSTR_REFUSED_NOTHING,
		.error = outcome == KTSTR_RETRY_UNTRACED ? trace->error : 0,
		.calls = refusal->calls,
		.alike = trace->ended && !trace->error && trace->status == first_status,
	};
	const char *words = "";
	size_t bytes = 0;

	if (outcome == KTSTR_RETRY_REFUSED) {
		msg.command = refusal->command;
		msg.error = refusal->error;
		memcpy(msg.name, refusal->name, sizeof(msg.name));
		words = refusal_words(refusal, &bytes);
	}
	channel_send(KTSTR_MSG_SCHED_REFUSAL, &msg, sizeof(msg), words, bytes);
	channel_flush();
}

static struct trace untraced(int error)
{
	return (struct trace){ .ended = true, .error = error };
}

/* From the tracer's start to its end; whether the loader attached meanwhile. */
static bool watch_tracer(pid_t tracer, uint64_t until)
{
	int fd = (int)syscall(SYS_pidfd_open, tracer, 0);
	bool attached;

	gone = false;
	if (!events_add(fd, on_gone, NULL))
		gone = true;
	await_tracer(until, true);
	attached = scx_enabled();
	kill(tracer, SIGKILL); /* and its loader with it: PTRACE_O_EXITKILL */
	await_tracer(now_ns() + SETTLE_NS, false);
	events_remove(fd);
	if (fd >= 0)
		close(fd);
	for (until = now_ns() + SETTLE_NS; !scx_disabled() && now_ns() < until;)
		events_wait(now_ns() + POLL_NS);
	return attached;
}

void retry_traced(const struct process_spec *spec, int status, uint64_t within_ns)
{
	struct trace *trace = mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct trace none = untraced(ENOMEM);
	bool attached = false;
	pid_t tracer;

	if (trace == MAP_FAILED) {
		send_refusal(&none, KTSTR_RETRY_UNTRACED, status);
		return;
	}
	tracer = fork();
	if (tracer == 0)
		run_tracer(spec, trace);
	if (tracer > 0)
		attached = watch_tracer(tracer, now_ns() + within_ns);
	else
		*trace = untraced(errno);
	send_refusal(trace, outcome_of(trace, attached), status);
	munmap(trace, sizeof(*trace));
}
