// SPDX-License-Identifier: GPL-2.0-only
#include "proc/scheduler.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/events.h"
#include "base/run.h"
#include "base/uevent.h"
#include "proc/home.h"
#include "proc/process.h"
#include "proc/retry.h"
#include "watch/kmsg.h"
#include "watch/printk.h"
#include "watch/scx.h"
#include "watch/scx_dump.h"
#include "wire/channel.h"
#include "wire/errors.h"

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
static struct process *process;
static int64_t attach_seq;
static bool evicted;
static uint32_t events_sent;
static uint32_t started_in; /* the scope */
static struct process_spec spec;
static const char *argv[KTSTR_MAX_ARGS + 1];

static void send_event_of(uint64_t at_ns, enum ktstr_sched kind, int code, const char *text)
{
	struct ktstr_msg_sched_event msg = { .at_ns = at_ns, .kind = kind, .code = code };
	size_t bytes = strlen(text);

	if (events_sent++ >= KTSTR_MAX_SCHED_EVENTS)
		return;
	if (bytes > KTSTR_MAX_TEXT_BYTES)
		bytes = KTSTR_MAX_TEXT_BYTES;
	channel_send(KTSTR_MSG_SCHED_EVENT, &msg, sizeof(msg), text, bytes);
	scheduler_send_logs();
	channel_flush();
}

static void send_event(enum ktstr_sched kind, int code, const char *text)
{
	send_event_of(run_at_ns(), kind, code, text);
}

static void send_process_end(uint64_t at_ns)
{
	int status = process->status;

	if (WIFSIGNALED(status))
		send_event_of(at_ns, KTSTR_SCHED_SIGNALED, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		send_event_of(at_ns, KTSTR_SCHED_EXITED, WEXITSTATUS(status), "");
}

static void sink(const char *text, size_t bytes, void *context)
{
	(void)context;
	channel_send_text(KTSTR_MSG_SCHED_LOG, NULL, 0, text, bytes, KTSTR_MAX_PAYLOAD);
}

void scheduler_send_logs(void)
{
	if (!process)
		return;
	process_drain(process);
	keeplog_take_head(&process->output.log, sink, NULL);
	kmsg_send(false);
	printk_send(false);
	scx_dump_send();
}

/* In the kernel's words; and how far it is, where it takes long to let go. */
static void send_evicted(uint64_t at_ns)
{
	char text[KTSTR_MAX_TEXT_BYTES + 64], state[32];
	int n = snprintf(text, sizeof(text), "%s", kmsg_recent());

	if (!scx_disabled() && scx_state(state, sizeof(state)))
		snprintf(text + n, sizeof(text) - (size_t)n, "%ssched_ext: its state is %s", n ? "\n" : "", state);
	send_event_of(at_ns, KTSTR_SCHED_EVICTED, 0, text);
}

/* Its own doing or the kernel's: the order of the two events says which came first. */
static void lose(void)
{
	uint64_t noticed_ns = run_at_ns();
	bool unregistered;

	phase = LOST;
	run_abort(KTSTR_END_SCHED_LOST);
	for (uint64_t until = now_ns() + SETTLE_NS; !scx_disabled() && now_ns() < until;)
		events_wait(now_ns() + POLL_NS);
	kmsg_drain();
	unregistered = kmsg_recent_has("unregistered from user space");
	/* A dying process detaches a moment before it can be waited for. */
	for (uint64_t until = now_ns() + SETTLE_NS; unregistered && !process->ended && now_ns() < until;)
		events_wait(until);
	if (process->ended && unregistered)
		send_process_end(noticed_ns);
	evicted = !scx_enabled() || scx_enable_seq() != attach_seq;
	if (evicted)
		send_evicted(noticed_ns);
	if (process->ended && !unregistered)
		send_process_end(noticed_ns);
}

void scheduler_check(void)
{
	if (phase == ATTACHED && (process->ended || !scx_enabled() || scx_enable_seq() != attach_seq))
		lose();
}

static void on_end(struct process *ended)
{
	(void)ended;
	scheduler_check();
}

static void on_uevent(int fd, void *context)
{
	(void)context;
	uevent_drain(fd);
	scheduler_check();
}

/* The kernel sets the state first and counts a moment later: before it counted, a count read now would change. */
static bool attach_counted(void)
{
	return attach_seq < 0 || scx_enable_seq() != attach_seq;
}

static void die_at_load(uint64_t timeout_ns)
{
	phase = LOST;
	send_process_end(run_at_ns());
	process_signal(process, SIGKILL); /* what it may have left behind */
	retry_traced(&spec, process->status, timeout_ns);
	run_abort(KTSTR_END_SCHED_LOST);
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
		if (process->ended) {
			die_at_load(timeout_ns);
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

/* Once: what is watched for as long as the machine runs. */
static bool watch(void)
{
	if (process)
		return true;
	process = process_new();
	if (!process || !events_add(uevent_open(), on_uevent, NULL)) {
		run_error("cannot watch a scheduler: %s", strerror(errno));
		return false;
	}
	process->on_end = on_end;
	return true;
}

bool scheduler_is_attached(void)
{
	return phase == ATTACHED;
}

uint32_t scheduler_scope(void)
{
	return started_in;
}

void scheduler_start(const struct program *program, const struct ktstr_op *op, uint32_t scope)
{
	int error;

	if (!scx_present()) {
		run_error("this kernel has no sched_ext: /sys/kernel/sched_ext/state is absent (CONFIG_SCHED_CLASS_EXT)");
		return;
	}
	if (phase == ATTACHED) {
		run_error("a scheduler is attached, and another one is to be started");
		return;
	}
	if (!watch())
		return;
	kmsg_begin();
	printk_begin();
	scx_dump_begin();
	kmsg_drain();
	kmsg_forget(); /* what it says of an earlier one */
	process_argv(program, op->id, argv);
	started_in = scope;
	attach_seq = scx_enable_seq();
	spec = (struct process_spec){ .argv = argv, .cgroup_fd = -1 };
	home_find(&spec);
	error = process_start(process, &spec);
	if (error) {
		phase = LOST;
		if (error == ECANCELED)
			return;
		send_event(KTSTR_SCHED_SPAWN_FAILED, error, strerror(error));
		run_abort(KTSTR_END_SCHED_LOST);
		return;
	}
	phase = STARTING;
	send_event(KTSTR_SCHED_STARTED, 0, argv[0]);
	await_attach(op->ns);
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
	process_signal(process, SIGINT);
	if (!process_await(process, now_ns() + timeout_ns)) {
		snprintf(text, sizeof(text), "did not end on SIGINT within %llu ms, killed",
			 (unsigned long long)timeout_ns / 1000000);
		process_signal(process, SIGKILL);
		process_await(process, now_ns() + SETTLE_NS);
		until = now_ns() + SETTLE_NS;
	}
	code = WIFSIGNALED(process->status) ? 128 + WTERMSIG(process->status) : WEXITSTATUS(process->status);
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
	if (process->pid > 0 && !process->ended && run_status() != KTSTR_END_DEADLINE) {
		/* An evicted loader tells why in its own words, if it is given the time. */
		if (evicted && process_await(process, now_ns() + LAST_WORDS_NS))
			send_process_end(run_at_ns());
		phase = STOPPED;
		process_signal(process, SIGKILL);
		process_await(process, now_ns() + SETTLE_NS);
	}
	process_drain(process);
	keeplog_take_all(&process->output.log, sink, NULL);
	printk_send(true);
	scx_dump_send();
}
