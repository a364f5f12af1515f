// SPDX-License-Identifier: GPL-2.0-only
/* The border that every byte of a program crosses: header, tables, then the ops in one pass. */
#include "ops/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/header.h"
#include "ops/scan.h"

static bool check_unused(struct scan *scan, uint32_t fields, const struct ktstr_op *op)
{
	static const struct ktstr_selector nobody = { 0 };
	const struct {
		uint32_t fields;
		const char *name;
		bool is_zero;
	} all[] = {
		{ OP_PAYLOAD | OP_CGROUP | OP_WORK | OP_PHASE, "id", op->id == 0 },
		{ OP_WHO, "who", memcmp(&op->who, &nobody, sizeof(nobody)) == 0 },
		{ OP_MASK, "mask", op->mask == 0 },
		{ OP_PATH | OP_FILE, "path", op->path == 0 },
		{ OP_TEXT, "text", op->text == 0 },
		{ OP_COUNT, "count", op->count == 0 },
		{ OP_NS, "ns", op->ns == 0 },
		{ OP_INTERVAL, "interval_ns", op->interval_ns == 0 },
		{ OP_JITTER, "jitter_ns", op->jitter_ns == 0 },
		{ OP_BODY, "body", op->body == 0 },
		{ OP_RESTORE, "flags", !(op->flags & KTSTR_OP_FLAG_RESTORE) },
		{ OP_STEP, "flags", !(op->flags & KTSTR_OP_FLAG_STEP) },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!(fields & all[i].fields) && !all[i].is_zero)
			return scan_refuse(scan, "%s is not 0, and it takes none", all[i].name);
	if (op->flags & ~(KTSTR_OP_FLAG_RESTORE | KTSTR_OP_FLAG_STEP))
		return scan_refuse(scan, "flags %#x hold unknown ones", op->flags);
	return op->on_error <= KTSTR_ON_ERROR_RECORD || scan_refuse(scan, "on_error %u is unknown", op->on_error);
}

static bool check_id(struct scan *scan, uint32_t fields, const struct ktstr_op *op)
{
	static const struct {
		uint32_t field;
		enum ktstr_table table;
		const char *what;
	} tables[] = {
		{ OP_PAYLOAD, KTSTR_TABLE_PAYLOADS, "payload" },
		{ OP_CGROUP, KTSTR_TABLE_CGROUPS, "cgroup" },
		{ OP_WORK, KTSTR_TABLE_WORKS, "work" },
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		uint32_t count = program_count(scan->program, tables[i].table);

		if (fields & tables[i].field && op->id >= count)
			return scan_refuse(scan, "id %u of %u %ss", op->id, count, tables[i].what);
	}
	if (fields & OP_MASK && (op->mask == 0 || op->mask > program_count(scan->program, KTSTR_TABLE_MASKS)))
		return scan_refuse(scan, "mask %u of %u", op->mask, program_count(scan->program, KTSTR_TABLE_MASKS));
	return true;
}

static bool check_who(struct scan *scan, const struct ktstr_op *op)
{
	const struct ktstr_selector *who = &op->who;
	int32_t cgroups = (int32_t)program_count(scan->program, KTSTR_TABLE_CGROUPS);
	int32_t works = (int32_t)program_count(scan->program, KTSTR_TABLE_WORKS);
	uint32_t workers;

	if (who->scope > KTSTR_SCOPE_STEP)
		return scan_refuse(scan, "who.scope %u is unknown", who->scope);
	if (who->cgroup < -1 || who->cgroup >= cgroups)
		return scan_refuse(scan, "who.cgroup %d of %d", who->cgroup, cgroups);
	if (who->work < -1 || who->work >= works)
		return scan_refuse(scan, "who.work %d of %d", who->work, works);
	if (who->work < 0)
		return (who->first_worker == 0 && who->worker_count == 0) ||
		       scan_refuse(scan, "who.first_worker and who.worker_count without who.work");
	workers = scan->program->works[who->work].worker_count;
	if (who->first_worker > workers || who->worker_count > workers - who->first_worker)
		return scan_refuse(scan, "who.first_worker %u and who.worker_count %u of %u", who->first_worker,
				   who->worker_count, workers);
	return true;
}

static bool check_times(struct scan *scan, const struct ktstr_op *op)
{
	const struct {
		const char *name;
		uint64_t ns;
	} times[] = { { "ns", op->ns }, { "interval_ns", op->interval_ns }, { "jitter_ns", op->jitter_ns } };

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (times[i].ns > KTSTR_MAX_NS)
			return scan_refuse(scan, "%s %llu, at most %llu", times[i].name,
					   (unsigned long long)times[i].ns, (unsigned long long)KTSTR_MAX_NS);
	return true;
}

/* A file of a cgroup: nothing that climbs out of it, or that is the agent's to write. */
static bool check_file(struct scan *scan, const char *name)
{
	if (!*name || name[0] == '.' || strlen(name) > 64 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._") != strlen(name))
		return scan_refuse(scan, "path is no name of a file");
	return true;
}

static bool check_string(struct scan *scan, const char *name, uint32_t at, bool is_path)
{
	const char *text;

	if (at >= program_count(scan->program, KTSTR_TABLE_STRINGS))
		return scan_refuse(scan, "%s %u is no string", name, at);
	text = program_string(scan->program, at);
	if (strlen(text) >= KTSTR_MAX_TEXT_BYTES)
		return scan_refuse(scan, "%s of %zu bytes, at most %u", name, strlen(text), KTSTR_MAX_TEXT_BYTES - 1);
	if (!is_path)
		return true;
	if (text[0] != '/')
		return scan_refuse(scan, "%s does not begin with /", name);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == '\x7f')
			return scan_refuse(scan, "%s holds a control character", name);
	return true;
}

static bool check_fields(struct scan *scan, uint32_t fields, const struct ktstr_op *op)
{
	return check_unused(scan, fields, op) && check_id(scan, fields, op) &&
	       (!(fields & OP_WHO) || check_who(scan, op)) && check_times(scan, op) &&
	       (!(fields & OP_PATH) || check_string(scan, "path", op->path, true)) &&
	       (!(fields & OP_FILE) || (check_string(scan, "path", op->path, false) &&
					check_file(scan, program_string(scan->program, op->path)))) &&
	       (!(fields & OP_TEXT) || check_string(scan, "text", op->text, false));
}

/* What a Repeat makes again and again has to be taken down in each pass. */
static bool check_maker(struct scan *scan)
{
	for (uint32_t i = scan->depth; i > 0; i--) {
		if (scan->blocks[i].kind == KTSTR_OP_SCOPE)
			return true;
		if (scan->blocks[i].kind == KTSTR_OP_REPEAT)
			return scan_refuse(scan, "makes something in a Repeat, outside of any Scope in it");
	}
	return true;
}

static bool open_block(struct scan *scan, const struct ktstr_op *op)
{
	struct block *around = &scan->blocks[scan->depth], *block = around + 1;

	if (scan->depth == KTSTR_MAX_DEPTH)
		return scan_refuse(scan, "is inside of %u others, at most %u", scan->depth, KTSTR_MAX_DEPTH - 1);
	if (op->body > around->end - scan->index - 1)
		return scan_refuse(scan, "body of %u ops, %u are left", op->body, around->end - scan->index - 1);
	*block = (struct block){ op->kind, scan->index + 1 + op->body, around->inside };
	if (op->kind == KTSTR_OP_SCOPE)
		block->inside.scope = scan->index + 1;
	if (op->flags & KTSTR_OP_FLAG_STEP)
		block->inside.step = scan->index + 1;
	scan->depth++;
	return true;
}

static void forget(struct state *states, uint32_t count, uint32_t scope)
{
	for (uint32_t i = 0; i < count; i++)
		if (states[i].made.scope == scope)
			states[i].there = false;
}

static void close_blocks(struct scan *scan)
{
	while (scan->depth && scan->blocks[scan->depth].end == scan->index) {
		const struct block *block = &scan->blocks[scan->depth--];

		if (block->kind != KTSTR_OP_SCOPE)
			continue;
		forget(&scan->scheduler, 1, block->inside.scope);
		forget(scan->cgroups, program_count(scan->program, KTSTR_TABLE_CGROUPS), block->inside.scope);
		forget(scan->works, program_count(scan->program, KTSTR_TABLE_WORKS), block->inside.scope);
		forget(scan->payloads, program_count(scan->program, KTSTR_TABLE_PAYLOADS), block->inside.scope);
	}
}

static bool check_op(struct scan *scan)
{
	const struct ktstr_op *op = &scan->program->ops[scan->index];
	const struct op_type *type = op_type(op->kind);

	if (!type)
		return scan_refuse(scan, "kind %u is unknown", op->kind);
	if (!check_fields(scan, type->fields, op) || (type->flags & OP_MAKES && !check_maker(scan)))
		return false;
	if (type->ops->check && !type->ops->check(scan, op))
		return false;
	return !(type->fields & OP_BODY) || open_block(scan, op);
}

bool program_open(const void *data, size_t bytes, struct program *ret, char *why, size_t why_size)
{
	struct why where = { why, why_size };
	struct program program;
	struct scan *scan;
	bool good = true;

	if (!header_open(data, bytes, &program, &where) || !tables_check(&program, &where))
		return false;
	scan = calloc(1, sizeof(*scan));
	if (!scan) {
		snprintf(why, why_size, "no memory to check the program");
		return false;
	}
	scan->program = &program;
	scan->why = why;
	scan->why_size = why_size;
	scan->blocks[0].end = program_count(&program, KTSTR_TABLE_OPS);
	for (; good && scan->index < scan->blocks[0].end; scan->index++) {
		close_blocks(scan);
		good = check_op(scan);
	}
	free(scan);
	if (good)
		*ret = program;
	return good;
}
