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
#define OWN_VARIABLES 3

struct running {
	struct process *process; /* NULL until its first start */
	struct made made;
	bool started, told;
	size_t sent[KTSTR_STREAM_STDERR]; /* of each stream, in all its runs */
};

/* Whom a text of a payload is from. */
struct source {
	struct running *running;
	enum ktstr_stream stream;
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
	const struct source *source = context;
	struct ktstr_msg_payload_log msg = { .payload = (uint32_t)(source->running - payloads), .stream = source->stream };
	size_t *sent = &source->running->sent[source->stream - KTSTR_STREAM_STDOUT];

	bytes = smaller(bytes, KTSTR_MAX_LOG_BYTES - *sent);
	*sent += bytes;
	channel_send_text(KTSTR_MSG_PAYLOAD_LOG, &msg, sizeof(msg), text, bytes, KTSTR_MAX_TEXT_BYTES);
}

static void send_logs(struct running *running)
{
	struct source output = { running, KTSTR_STREAM_STDOUT }, errors = { running, KTSTR_STREAM_STDERR };

	keeplog_take_all(&running->process->output.log, send_log, &output);
	keeplog_take_all(&running->process->errors.log, send_log, &errors);
	keeplog_empty(&running->process->output.log);
	keeplog_empty(&running->process->errors.log);
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

/* NULL without memory. Its output is kept from its begin, for whoever parses it; its errors at both ends. */
static struct process *new_process(void)
{
	struct process *process = process_new();

	if (process) {
		process->on_end = on_end;
		process->output.log.first_only = true;
	}
	return process;
}

static const char *name_end(const char *variable)
{
	return strchrnul(variable, '=');
}

/* The agent's own, but for those that are declared, and these. ret has room for all of them and a NULL. */
static void environment(const struct program *program, const struct ktstr_payload *declared, const char **ret)
{
	static const char *const own[OWN_VARIABLES] = { "PATH=/bin:/usr/bin:/sbin:/usr/sbin", "HOME=/tmp", "TERM=dumb" };
	uint32_t count = declared->envc;

	process_strings(program, declared->env, declared->envc, ret);
	for (uint32_t i = 0; i < OWN_VARIABLES; i++) {
		size_t name = (size_t)(name_end(own[i]) - own[i]);
		bool taken = false;

		for (uint32_t k = 0; k < declared->envc; k++)
			taken |= name_end(ret[k]) == ret[k] + name && !memcmp(ret[k], own[i], name);
		if (!taken)
			ret[count++] = own[i];
	}
	ret[count] = NULL;
}

static int start(const struct program *program, uint32_t id, const char **argv)
{
	const struct ktstr_payload *declared = &program->payloads[id];
	const char *variables[KTSTR_MAX_ENV + OWN_VARIABLES + 1];
	struct process_spec spec = {
		.argv = argv,
		.environment = variables,
		.folder = declared->folder ? program_string(program, declared->folder - 1) : NULL,
		.cgroup_fd = cgroup_fd(declared->cgroup),
		.affinity = program_mask(program, declared->affinity),
		.errors_apart = true,
		.policy = declared->policy,
		.priority = declared->priority,
		.nice = declared->nice,
	};

	process_argv(program, id, argv);
	environment(program, declared, variables);
	return process_start(payloads[id].process, &spec);
}

void payload_run(const struct program *program, uint32_t id, struct made made)
{
	struct running *running = &payloads[id];
	const char *argv[KTSTR_MAX_ARGS + 1];
	int error;

	if (!running->process)
		running->process = new_process();
	if (!running->process || !has_its_cgroup(&program->payloads[id])) {
		run_error("payload %u: %s", id, running->process ? "its cgroup is not there" : "no memory");
		return;
	}
	running->made = made;
	running->told = false;
	error = start(program, id, argv);
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
	process_close_logs(running->process);
	send_logs(running);
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
