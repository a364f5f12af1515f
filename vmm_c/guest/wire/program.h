// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PROGRAM_VIEW_H
#define KTSTR_PROGRAM_VIEW_H

#include <stddef.h>

#include "ktstr_proto.h"
#include "ktstr_tables.h"

/* A program that was checked in full: its tables, in the bytes it was opened on. */
struct program {
	const struct ktstr_program_header *header;
	const char *strings;
	const struct ktstr_cpumask *masks;
	const struct ktstr_cgroup *cgroups;
	const struct ktstr_work *works;
	const struct ktstr_worker *workers;
	const struct ktstr_payload *payloads;
	const struct ktstr_op *ops;
};

static inline uint32_t program_count(const struct program *program, enum ktstr_table table)
{
	return program->header->counts[table];
}

static inline const char *program_string(const struct program *program, uint32_t at)
{
	return program->strings + at;
}

/* NULL for none. */
static inline const struct ktstr_cpumask *program_mask(const struct program *program, uint32_t mask)
{
	return mask ? &program->masks[mask - 1] : NULL;
}

/* "AddCgroup" and so on, as the host calls them; "unknown" for what is none. */
const char *op_name(uint32_t kind);
const char *work_name(uint32_t type);

#endif
