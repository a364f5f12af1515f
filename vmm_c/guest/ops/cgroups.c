// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "base/cpulist.h"
#include "ops/scan.h"
#include "proc/cgroup.h"

static void describe_cpus(const struct program *program, uint32_t cgroup, uint32_t mask, char *ret, size_t size)
{
	char list[CPULIST_BYTES] = "all";

	if (mask)
		cpulist_format(program_mask(program, mask), list, sizeof(list));
	snprintf(ret, size, "%s cpus=%s", program_string(program, program->cgroups[cgroup].name), list);
}

static bool check_add(struct scan *scan, const struct ktstr_op *op)
{
	return scan_make(scan, &scan->cgroups[op->id], "the cgroup");
}

static void run_add(const struct moment *now, const struct ktstr_op *op)
{
	cgroup_add(op->id, now->here);
}

static void describe_add(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	describe_cpus(program, op->id, program->cgroups[op->id].cpus, ret, size);
}

const struct op_ops op_add_cgroup = { check_add, run_add, describe_add };

static bool check_set_cpus(struct scan *scan, const struct ktstr_op *op)
{
	return scan_need(scan, &scan->cgroups[op->id], "the cgroup");
}

static void run_set_cpus(const struct moment *now, const struct ktstr_op *op)
{
	cgroup_set_cpus(op->id, program_mask(now->program, op->mask));
}

static void describe_set_cpus(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	describe_cpus(program, op->id, op->mask, ret, size);
}

const struct op_ops op_set_cpus = { check_set_cpus, run_set_cpus, describe_set_cpus };

static bool is_named(const struct ktstr_op *op, uint32_t id)
{
	return op->who.cgroup < 0 || (uint32_t)op->who.cgroup == id;
}

static bool check_remove(struct scan *scan, const struct ktstr_op *op)
{
	if (op->who.work >= 0)
		return scan_refuse(scan, "who.work %d, and cgroups are chosen", op->who.work);
	for (uint32_t id = 0; id < program_count(scan->program, KTSTR_TABLE_CGROUPS); id++)
		if (is_named(op, id) && scan_matches(scan, &scan->cgroups[id], op))
			scan->cgroups[id].there = false;
	return true;
}

/* The last made first: those below go before what they are in. */
static void run_remove(const struct moment *now, const struct ktstr_op *op)
{
	if (op->who.scope == KTSTR_SCOPE_ANY && op->who.cgroup < 0) {
		cgroup_remove_all();
		return;
	}
	for (uint32_t id = program_count(now->program, KTSTR_TABLE_CGROUPS); id-- > 0;) {
		const struct made *made = cgroup_made(id);

		if (made && is_named(op, id) && made_matches(made, op->who.scope, now->here.step))
			cgroup_remove(id);
	}
}

const struct op_ops op_remove_cgroups = { check_remove, run_remove, NULL };
