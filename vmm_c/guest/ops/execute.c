// SPDX-License-Identifier: GPL-2.0-only
#include "ops/execute.h"

#include <string.h>

#include "base/events.h"
#include "base/run.h"
#include "ops/files.h"
#include "ops/scan.h"
#include "ops/times.h"
#include "proc/cgroup.h"
#include "proc/payload.h"
#include "proc/scheduler.h"
#include "watch/kmsg.h"
#include "wire/channel.h"
#include "wire/errors.h"
#include "worker/registry.h"
#include "worker/report.h"
#include "worker/worker.h"

static const struct program *program;

/* Where a range of ops stands: in which scope and step, and in which pass of the Repeats around it. */
struct where {
	struct made here;
	bool untold; /* some Repeat around it is beyond its first pass, or nothing has begun yet */
};

static void run_range(uint32_t from, uint32_t to, const struct where *where);

/* What is about to be done, and how far the workers are. */
static void send_stimulus(uint32_t index, const struct where *where, uint32_t iteration)
{
	static uint32_t sent;
	const struct ktstr_op *op = &program->ops[index];
	const struct op_ops *ops = op_type(op->kind)->ops;
	struct ktstr_msg_stimulus msg = {
		.at_ns = run_at_ns(),
		.total_iterations = registry_iterations(),
		.kind = op->kind,
		.op = index,
		.scope = where->here.scope,
		.iteration = iteration,
	};
	char detail[KTSTR_MAX_TEXT_BYTES] = "";

	if (where->untold || sent++ >= KTSTR_MAX_STIMULI)
		return;
	if (ops->describe)
		ops->describe(program, op, detail, sizeof(detail));
	channel_send(KTSTR_MSG_STIMULUS, &msg, sizeof(msg), detail, strlen(detail));
}

static bool made_in(const struct made *made, uint32_t scope)
{
	return made && (!scope || made->scope == scope);
}

/* Whatever a scope made, and nothing else; 0: whatever is left. */
static void take_down(uint32_t scope, uint64_t stop_ns)
{
	const struct choice choice = { .who = { .cgroup = -1, .work = -1 }, .only_scope = scope };

	worker_stop(&choice, stop_ns);
	report_vcpus_end();
	payload_kill_of(scope);
	if (run_status() == KTSTR_END_DEADLINE)
		return; /* the machine goes away, and everything with it */
	if (scope && scheduler_scope() == scope)
		scheduler_stop(stop_ns);
	files_restore(scope);
	for (uint32_t id = program_count(program, KTSTR_TABLE_CGROUPS); scope && id-- > 0;)
		if (made_in(cgroup_made(id), scope))
			cgroup_remove(id);
}

static void run_scope(uint32_t index, const struct where *around)
{
	const struct ktstr_op *op = &program->ops[index];
	struct where inside = *around;

	inside.here.scope = index + 1;
	if (op->flags & KTSTR_OP_FLAG_STEP)
		inside.here.step = index + 1;
	run_range(index + 1, index + 1 + op->body, &inside);
	errors_of((int32_t)index, op->on_error == KTSTR_ON_ERROR_RECORD);
	take_down(index + 1, op->ns);
}

static bool goes_on(const struct ktstr_op *op, uint32_t passes, uint64_t began)
{
	if (run_check_deadline())
		return false;
	return (!op->count || passes < op->count) && (!op->ns || now_ns() - began < op->ns);
}

/* Between two passes, unless its time is over meanwhile. */
static bool pauses(const struct ktstr_op *op, uint64_t began)
{
	uint64_t gone = now_ns() - began, left = op->ns > gone ? op->ns - gone : 0;

	if (op->ns && left <= op->interval_ns) {
		times_sleep(left);
		return false;
	}
	times_sleep(op->interval_ns);
	return true;
}

static void run_repeat(uint32_t index, const struct where *around)
{
	const struct ktstr_op *op = &program->ops[index];
	struct where inside = *around;
	uint64_t began = now_ns();
	uint32_t passes = 0;

	while (goes_on(op, passes, began) && (!passes || pauses(op, began))) {
		run_range(index + 1, index + 1 + op->body, &inside);
		inside.untold = true;
		passes++;
		events_poll();
	}
	send_stimulus(index, around, passes);
}

static bool is_skipped(const struct ktstr_op *op)
{
	if (!run_aborting())
		return false;
	/* At the deadline the machine goes away: cgroups and the scheduler with it. */
	if (run_status() == KTSTR_END_DEADLINE)
		return op->kind != KTSTR_OP_STOP_WORKERS;
	return !(op_type(op->kind)->flags & OP_TAKES_DOWN) || op->kind == KTSTR_OP_SCOPE;
}

static void run_op(uint32_t index, const struct where *where)
{
	const struct ktstr_op *op = &program->ops[index];
	const struct moment now = { program, index, where->here };

	send_stimulus(index, where, 0);
	errors_of((int32_t)index, op->on_error == KTSTR_ON_ERROR_RECORD);
	if (op->kind == KTSTR_OP_SCOPE)
		run_scope(index, where);
	else if (op->kind == KTSTR_OP_REPEAT)
		run_repeat(index, where);
	else
		op_type(op->kind)->ops->run(&now, op);
	errors_of(-1, false);
}

static void run_range(uint32_t from, uint32_t to, const struct where *where)
{
	for (uint32_t index = from; index < to; index += 1 + program->ops[index].body) {
		events_poll();
		scheduler_check();
		if (!is_skipped(&program->ops[index]))
			run_op(index, where);
	}
}

static void run_all(const struct program *of, bool untold)
{
	const struct where outside = { .untold = untold };

	program = of;
	kmsg_begin();
	run_range(0, program_count(program, KTSTR_TABLE_OPS), &outside);
	events_poll();
	scheduler_check();
}

static void finish(uint64_t stop_ns)
{
	take_down(0, stop_ns); /* a program may end without saying so */
	scheduler_finish();
	kmsg_send(true);
	report_vcpus_send();
	times_send();
}

void execute_setup(const struct program *of, uint64_t stop_ns)
{
	run_all(of, true);
	if (run_aborting())
		finish(stop_ns);
}

void execute(const struct program *of, uint64_t stop_ns)
{
	run_all(of, false);
	finish(stop_ns);
}
