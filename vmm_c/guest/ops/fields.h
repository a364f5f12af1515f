// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_FIELDS_H
#define KTSTR_FIELDS_H

#include "ops/header.h"

/* An entry of a table that is checked: which, for whoever is told why it is refused. */
struct entry {
	const struct program *program;
	const char *what; /* "work" */
	uint32_t id;
	struct why *why;
};

/* Say why the entry is refused, after its name. Gives false. */
__attribute__((format(printf, 2, 3))) bool entry_refuse(const struct entry *entry, const char *format, ...);

/* What several tables have. Each gives whether the field is right, or refuses the entry. */
bool field_mask(const struct entry *entry, const char *name, uint32_t mask);
bool field_cgroup(const struct entry *entry, int32_t cgroup);
/* A name that a task may have: 1 to KTSTR_MAX_COMM printable characters, or none. */
bool field_comm(const struct entry *entry, const char *name, uint32_t at);
/* A policy with its priority and nice value; the times of KTSTR_POLICY_DEADLINE are the caller's to check. */
bool field_policy(const struct entry *entry, uint32_t policy, int32_t priority, int32_t nice);
/* So many strings that follow each other from at, none beyond the table, no more bytes than allowed. */
bool field_strings(const struct entry *entry, const char *name, uint32_t at, uint32_t strings);

#endif
