// SPDX-License-Identifier: GPL-2.0-only
#include "proc/payload.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/events.h"
#include "base/run.h"
#include "base/smaller.h"
#include "proc/cgroup.h"
#include "proc/process.h"
#include "wire/channel.h"
#include "wire/errors.h"

#define KILL_NS UINT64_C(2000000000)

struct running {
	struct process *process; /* NULL until its first start */
	struct made made;
	bool started, told;
	size_t sent; /* of what it wrote, in all its runs */
};

static struct running payloads[KTSTR_MAX_PAYLOADS];

static void tell(uint32_t id, enum ktstr_payload_event kind, int code)
{
	static uint32_t told;
	struct ktstr_msg_payload_event msg = { .at_ns = run_at_ns(), .payload = id, .kind = kind, .code = code };

	if (told++ < KTSTR_MAX_PAYLOAD_EVENTS)
		channel_send(KTSTR_MSG_PAYLOAD_EVENT, &msg, sizeof(msg), NULL, 0);
}

static void send_log(const char *text, size_t bytes, void *context)
{
	struct running *running = context;
	struct ktstr_msg_payload_log msg = { .payload = (uint32_t)(running - payloads) };

	bytes = smaller(bytes, KTSTR_MAX_LOG_BYTES - running->sent);
	running->sent += bytes;
	channel_send_text(KTSTR_MSG_PAYLOAD_LOG, &msg, sizeof(msg), text, bytes, KTSTR_MAX_TEXT_BYTES);
}

static void tell_end(uint32_t id)
{
	struct running *running = &payloads[id];
	int status = running->process->status;

	if (!running->started || running->told || !running->process->ended)
		return;
	running->told = true;
	if (WIFSIGNALED(status))
		tell(id, KTSTR_PAYLOAD_SIGNALED, WTERMSIG(status));
	else
		tell(id, KTSTR_PAYLOAD_EXITED, WEXITSTATUS(status));
}

static void on_end(struct process *process)
{
	for (uint32_t id = 0; id < KTSTR_MAX_PAYLOADS; id++)
		if (payloads[id].process == process)
			tell_end(id);
}

static bool has_its_cgroup(const struct ktstr_payload *declared)
{
	return declared->cgroup < 0 || cgroup_fd(declared->cgroup) >= 0;
}

void payload_run(const struct program *program, uint32_t id, struct made made)
{
	static const char *const environment[] = { "PATH=/bin:/usr/bin:/sbin:/usr/sbin", "HOME=/tmp", "TERM=dumb", NULL };
	const struct ktstr_payload *declared = &program->payloads[id];
	struct running *running = &payloads[id];
	const char *argv[KTSTR_MAX_ARGS + 1];
	struct process_spec spec = { argv, environment, NULL, cgroup_fd(declared->cgroup),
				     program_mask(program, declared->affinity) };
	int error;

	if (!running->process)
		running->process = process_new();
	if (!running->process || !has_its_cgroup(declared)) {
		run_error("payload %u: %s", id, running->process ? "its cgroup is not there" : "no memory");
		return;
	}
	running->process->on_end = on_end;
	process_argv(program, id, argv);
	running->made = made;
	running->told = false;
	error = process_start(running->process, &spec);
	running->started = error == 0;
	if (running->started) {
		tell(id, KTSTR_PAYLOAD_STARTED, 0);
		tell_end(id); /* it may have been quick */
		return;
	}
	if (error == ECANCELED)
		return;
	tell(id, KTSTR_PAYLOAD_SPAWN_FAILED, error);
	run_error("payload %u: cannot start %s: %s", id, argv[0], strerror(error));
}

static void finish(uint32_t id)
{
	struct running *running = &payloads[id];

	process_drain(running->process);
	process_close_log(running->process);
	keeplog_take_all(&running->process->log, send_log, running);
	memset(&running->process->log, 0, sizeof(running->process->log));
	running->started = false;
}

/* False: the run ended first. */
static bool await_end(struct process *process, uint64_t until)
{
	while (!process->ended && now_ns() < until && !run_aborting())
		events_wait(until);
	return process->ended || !run_aborting();
}

void payload_wait(uint32_t id, uint64_t timeout_ns)
{
	struct running *running = &payloads[id];

	if (!running->started || !await_end(running->process, now_ns() + timeout_ns))
		return;
	if (!running->process->ended) {
		tell(id, KTSTR_PAYLOAD_TIMED_OUT, 0);
		run_error("payload %u: still runs after %llu ms", id, (unsigned long long)timeout_ns / 1000000);
		return;
	}
	process_signal(running->process, SIGKILL); /* what it left behind */
	finish(id);
}

void payload_kill(uint32_t id)
{
	struct running *running = &payloads[id];

	if (!running->started)
		return;
	process_signal(running->process, SIGKILL);
	if (!running->process->ended) {
		running->told = true; /* it is our doing */
		tell(id, KTSTR_PAYLOAD_KILLED, 0);
		if (!process_await(running->process, now_ns() + KILL_NS))
			run_error("payload %u: does not die", id);
	}
	finish(id);
}

static void end_of_scope(uint32_t id)
{
	if (run_status() == KTSTR_END_DEADLINE)
		finish(id); /* it ends with the machine */
	else
		payload_kill(id);
}

void payload_kill_of(uint32_t scope)
{
	for (uint32_t id = 0; id < KTSTR_MAX_PAYLOADS; id++)
		if (payloads[id].started && (!scope || payloads[id].made.scope == scope))
			end_of_scope(id);
}
