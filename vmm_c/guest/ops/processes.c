// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "ops/scan.h"
#include "proc/payload.h"
#include "proc/scheduler.h"

static void describe_argv(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	snprintf(ret, size, "%s", program_string(program, program->payloads[op->id].argv));
}

static void describe_ns(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	(void)program;
	snprintf(ret, size, "%llu ns", (unsigned long long)op->ns);
}

static bool check_start(struct scan *scan, const struct ktstr_op *op)
{
	(void)op;
	return scan_make(scan, &scan->scheduler, "a scheduler");
}

static void run_start(const struct moment *now, const struct ktstr_op *op)
{
	/* What a step does to the scheduler lasts: the next one runs under it too. */
	scheduler_start(now->program, op, now->here.step ? 0 : now->here.scope);
}

const struct op_ops op_start_scheduler = { check_start, run_start, describe_argv };

static bool check_stop(struct scan *scan, const struct ktstr_op *op)
{
	(void)op;
	scan->scheduler.there = false;
	return true;
}

static void run_stop(const struct moment *now, const struct ktstr_op *op)
{
	(void)now;
	scheduler_stop(op->ns);
}

const struct op_ops op_stop_scheduler = { check_stop, run_stop, describe_ns };

static bool check_run(struct scan *scan, const struct ktstr_op *op)
{
	int32_t cgroup = scan->program->payloads[op->id].cgroup;

	return (cgroup < 0 || scan_need(scan, &scan->cgroups[cgroup], "its cgroup")) &&
	       scan_make(scan, &scan->payloads[op->id], "the payload");
}

static void run_run(const struct moment *now, const struct ktstr_op *op)
{
	payload_run(now->program, op->id, now->here);
}

const struct op_ops op_run = { check_run, run_run, describe_argv };

static bool check_kill(struct scan *scan, const struct ktstr_op *op)
{
	if (!scan_need(scan, &scan->payloads[op->id], "the payload"))
		return false;
	scan->payloads[op->id].there = false;
	return true;
}

/* One that was waited for in vain may be waited for again, so it stays until it is killed, or its scope ends. */
static bool check_wait(struct scan *scan, const struct ktstr_op *op)
{
	return scan_need(scan, &scan->payloads[op->id], "the payload");
}

static void run_wait(const struct moment *now, const struct ktstr_op *op)
{
	(void)now;
	payload_wait(op->id, op->ns);
}

const struct op_ops op_wait = { check_wait, run_wait, describe_argv };

static void run_kill(const struct moment *now, const struct ktstr_op *op)
{
	(void)now;
	payload_kill(op->id);
}

const struct op_ops op_kill = { check_kill, run_kill, describe_argv };
