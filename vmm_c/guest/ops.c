// SPDX-License-Identifier: GPL-2.0-only
#include "ops.h"

#include <stdio.h>
#include <string.h>

#include "cgroup.h"
#include "channel.h"
#include "cpulist.h"
#include "events.h"
#include "report.h"
#include "run.h"
#include "scheduler.h"
#include "worker.h"

/* After the deadline only what the workers have at once is worth waiting for. */
#define LATE_STOP_NS UINT64_C(200000000)

static void describe(const struct program_op *op, char *ret, size_t size)
{
	const struct ktstr_op_start_scheduler *start = op->payload;
	const struct ktstr_op_add_cgroup *add = op->payload;
	const struct ktstr_op_spawn *spawn = op->payload;
	const struct ktstr_op_release *release = op->payload;
	const struct ktstr_op_time *time = op->payload;
	char list[CPULIST_BYTES] = "all";

	ret[0] = '\0';
	switch (op->kind) {
	case KTSTR_OP_START_SCHEDULER:
		snprintf(ret, size, "%s", (const char *)(start + 1));
		break;
	case KTSTR_OP_ADD_CGROUP:
		if (add->has_cpus)
			cpulist_format(&add->cpus, list, sizeof(list));
		snprintf(ret, size, "%s cpus=%s", add->name, list);
		break;
	case KTSTR_OP_SPAWN:
		snprintf(ret, size, "%u %s in cgroup %d", spawn->worker_count, work_name(spawn->work_type),
			 spawn->cgroup);
		break;
	case KTSTR_OP_RELEASE:
		snprintf(ret, size, "%u workers", release->count);
		break;
	case KTSTR_OP_HOLD:
	case KTSTR_OP_DELAY:
	case KTSTR_OP_STOP_WORKERS:
	case KTSTR_OP_STOP_SCHEDULER:
		snprintf(ret, size, "%llu ns", (unsigned long long)time->ns);
		break;
	case KTSTR_OP_REMOVE_CGROUPS:
		break;
	}
}

/* What is about to be done, and how far the workers are. */
static void send_stimulus(const struct program_op *op)
{
	struct ktstr_msg_stimulus msg = {
		.at_ns = run_at_ns(),
		.total_iterations = worker_iterations(),
		.op = op->kind,
	};
	char detail[KTSTR_MAX_TEXT_BYTES];

	describe(op, detail, sizeof(detail));
	channel_send(KTSTR_MSG_STIMULUS, &msg, sizeof(msg), detail, strlen(detail));
}

static void sleep_ns(uint64_t ns)
{
	uint64_t until = now_ns() + ns;

	while (now_ns() < until && !run_aborting()) {
		events_wait(until);
		scheduler_check();
	}
}

static void stop_workers(uint64_t timeout_ns)
{
	if (run_status() == KTSTR_END_DEADLINE && timeout_ns > LATE_STOP_NS)
		timeout_ns = LATE_STOP_NS;
	worker_stop_all(timeout_ns);
	/* Not before: a CPU is charged for a task when that leaves it, and a lone spinner never did. */
	report_vcpus_send();
}

static bool takes_down(enum ktstr_op kind)
{
	return kind == KTSTR_OP_STOP_WORKERS || kind == KTSTR_OP_REMOVE_CGROUPS ||
	       kind == KTSTR_OP_STOP_SCHEDULER;
}

static void run_op(const struct program_op *op)
{
	const struct ktstr_op_time *time = op->payload;

	switch (op->kind) {
	case KTSTR_OP_START_SCHEDULER:
		scheduler_start(op->payload);
		break;
	case KTSTR_OP_STOP_SCHEDULER:
		scheduler_stop(time->ns);
		break;
	case KTSTR_OP_ADD_CGROUP:
		cgroup_add(op->payload);
		break;
	case KTSTR_OP_SPAWN:
		worker_spawn(op->payload);
		break;
	case KTSTR_OP_RELEASE:
		report_vcpus_begin();
		worker_release(op->payload);
		break;
	case KTSTR_OP_HOLD:
		channel_flush(); /* now, not when it costs the workers time */
		sleep_ns(time->ns);
		break;
	case KTSTR_OP_DELAY:
		sleep_ns(time->ns);
		break;
	case KTSTR_OP_STOP_WORKERS:
		stop_workers(time->ns);
		break;
	case KTSTR_OP_REMOVE_CGROUPS:
		cgroup_remove_all();
		break;
	}
}

void ops_run(const struct program *program)
{
	struct program_op op;
	size_t at = 0;

	while (program_next(program, &at, &op)) {
		events_poll();
		scheduler_check();
		if (run_aborting() && !takes_down(op.kind))
			continue;
		/* At the deadline the machine goes away: cgroups and the scheduler with it. */
		if (run_status() == KTSTR_END_DEADLINE && op.kind != KTSTR_OP_STOP_WORKERS)
			continue;
		send_stimulus(&op);
		run_op(&op);
	}
	events_poll();
	scheduler_check();
}
