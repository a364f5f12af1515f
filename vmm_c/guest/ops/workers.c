// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "base/cpulist.h"
#include "base/run.h"
#include "ops/scan.h"
#include "worker/checkpoint.h"
#include "worker/report.h"
#include "worker/worker.h"

static struct choice choice_of(const struct moment *now, const struct ktstr_op *op)
{
	return (struct choice){ .who = op->who, .step = now->here.step };
}

static void describe_who(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	const struct ktstr_selector *who = &op->who;
	int n = snprintf(ret, size, "%s", who->scope == KTSTR_SCOPE_BACKDROP ? "workers of the backdrop" :
					  who->scope == KTSTR_SCOPE_STEP     ? "workers of the step" :
									       "workers");

	if (who->cgroup >= 0)
		n += snprintf(ret + n, size - (size_t)n, " in %s",
			      program_string(program, program->cgroups[who->cgroup].name));
	if (who->work >= 0)
		n += snprintf(ret + n, size - (size_t)n, " of work %d", who->work);
	if (who->worker_count)
		snprintf(ret + n, size - (size_t)n, ", %u from %u", who->worker_count, who->first_worker);
}

static bool check_spawn(struct scan *scan, const struct ktstr_op *op)
{
	int32_t cgroup = scan->program->works[op->id].cgroup;

	return (cgroup < 0 || scan_need(scan, &scan->cgroups[cgroup], "its cgroup")) &&
	       scan_make(scan, &scan->works[op->id], "the work");
}

static void run_spawn(const struct moment *now, const struct ktstr_op *op)
{
	worker_spawn(op->id, now->here);
}

static void describe_spawn(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	const struct ktstr_work *work = &program->works[op->id];

	snprintf(ret, size, "%u %s in cgroup %d", work->worker_count, work_name(work->type), work->cgroup);
}

const struct op_ops op_spawn = { check_spawn, run_spawn, describe_spawn };

static void run_release(const struct moment *now, const struct ktstr_op *op)
{
	struct choice choice = choice_of(now, op);

	report_vcpus_begin();
	worker_release(&choice);
}

const struct op_ops op_release = { NULL, run_release, describe_who };

/* A selector that leaves some workers of a work out does not end the work. */
static bool check_stop(struct scan *scan, const struct ktstr_op *op)
{
	const struct program *program = scan->program;

	for (uint32_t id = 0; id < program_count(program, KTSTR_TABLE_WORKS); id++) {
		bool named = (op->who.work < 0 || (uint32_t)op->who.work == id) &&
			     (op->who.cgroup < 0 || op->who.cgroup == program->works[id].cgroup);

		if (named && !op->who.worker_count && scan_matches(scan, &scan->works[id], op))
			scan->works[id].there = false;
	}
	return true;
}

static void run_stop(const struct moment *now, const struct ktstr_op *op)
{
	struct choice choice = choice_of(now, op);

	worker_stop(&choice, op->ns);
	/* Not before: a CPU is charged for a task when that leaves it, and a lone spinner never did. */
	report_vcpus_end();
}

const struct op_ops op_stop_workers = { check_stop, run_stop, describe_who };

static void run_checkpoint(const struct moment *now, const struct ktstr_op *op)
{
	checkpoint_send(op->id, now->index);
}

static void describe_checkpoint(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	(void)program;
	snprintf(ret, size, "phase %u", op->id);
}

const struct op_ops op_checkpoint = { NULL, run_checkpoint, describe_checkpoint };

static bool check_move(struct scan *scan, const struct ktstr_op *op)
{
	return scan_need(scan, &scan->cgroups[op->id], "the cgroup");
}

static void run_move(const struct moment *now, const struct ktstr_op *op)
{
	struct choice choice = choice_of(now, op);

	worker_move(&choice, op->id);
}

const struct op_ops op_move = { check_move, run_move, describe_who };

static void run_set_affinity(const struct moment *now, const struct ktstr_op *op)
{
	struct choice choice = choice_of(now, op);

	worker_set_affinity(&choice, program_mask(now->program, op->mask));
}

const struct op_ops op_set_affinity = { NULL, run_set_affinity, describe_who };
