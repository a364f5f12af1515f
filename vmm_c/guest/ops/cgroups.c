// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>

#include "base/cpulist.h"
#include "ops/files.h"
#include "ops/scan.h"
#include "proc/cgroup.h"
#include "worker/frozen.h"

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
	frozen_forget(op->id);
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

static void run_clear_cpus(const struct moment *now, const struct ktstr_op *op)
{
	(void)now;
	cgroup_clear_cpus(op->id);
}

static void describe_cgroup(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	snprintf(ret, size, "%s", program_string(program, program->cgroups[op->id].name));
}

const struct op_ops op_clear_cpus = { check_set_cpus, run_clear_cpus, describe_cgroup };

static void run_write_cgroup(const struct moment *now, const struct ktstr_op *op)
{
	const char *file = program_string(now->program, op->path), *text = program_string(now->program, op->text);
	bool freezes = strcmp(file, "cgroup.freeze") == 0;

	if (freezes && strcmp(text, "0") == 0)
		frozen_end(op->id);
	if (cgroup_write(op->id, file, text) && freezes && strcmp(text, "1") == 0)
		frozen_begin(op->id);
}

static void describe_write(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	snprintf(ret, size, "%s %s=%s", program_string(program, program->cgroups[op->id].name),
		 program_string(program, op->path), program_string(program, op->text));
}

const struct op_ops op_write_cgroup = { check_set_cpus, run_write_cgroup, describe_write };

static void run_read_cgroup(const struct moment *now, const struct ktstr_op *op)
{
	char path[CGROUP_PATH_BYTES];

	cgroup_file(op->id, program_string(now->program, op->path), path);
	files_send(path, now->index);
}

static void describe_read(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	snprintf(ret, size, "%s %s", program_string(program, program->cgroups[op->id].name),
		 program_string(program, op->path));
}

const struct op_ops op_read_cgroup = { check_set_cpus, run_read_cgroup, describe_read };

static bool is_named(const struct ktstr_op *op, uint32_t id)
{
	return op->who.cgroup < 0 || (uint32_t)op->who.cgroup == id;
}

/* It goes, and with it all that is in it. */
static void forget(struct scan *scan, uint32_t id)
{
	const struct program *program = scan->program;
	const char *name = program_string(program, program->cgroups[id].name);
	size_t length = strlen(name);

	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_CGROUPS); i++) {
		const char *other = program_string(program, program->cgroups[i].name);

		if (strncmp(other, name, length) == 0 && (other[length] == '/' || !other[length]))
			scan->cgroups[i].there = false;
	}
}

static bool check_remove(struct scan *scan, const struct ktstr_op *op)
{
	if (op->who.work >= 0)
		return scan_refuse(scan, "who.work %d, and cgroups are chosen", op->who.work);
	for (uint32_t id = 0; id < program_count(scan->program, KTSTR_TABLE_CGROUPS); id++)
		if (is_named(op, id) && scan_matches(scan, &scan->cgroups[id], op))
			forget(scan, id);
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
