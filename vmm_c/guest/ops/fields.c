// SPDX-License-Identifier: GPL-2.0-only
/* Fields that entries of several tables have. */
#include "ops/fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool entry_refuse(const struct entry *entry, const char *format, ...)
{
	char text[192];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return why_refuse(entry->why, "%s %u: %s", entry->what, entry->id, text);
}

bool field_mask(const struct entry *entry, const char *name, uint32_t mask)
{
	uint32_t masks = program_count(entry->program, KTSTR_TABLE_MASKS);

	return mask <= masks || entry_refuse(entry, "%s %u of %u masks", name, mask, masks);
}

bool field_cgroup(const struct entry *entry, int32_t cgroup)
{
	uint32_t cgroups = program_count(entry->program, KTSTR_TABLE_CGROUPS);

	return (cgroup >= -1 && cgroup < (int32_t)cgroups) || entry_refuse(entry, "cgroup %d of %u", cgroup, cgroups);
}

bool field_comm(const struct entry *entry, const char *name, uint32_t at)
{
	const char *text;
	size_t length;

	if (!at)
		return true;
	if (at > program_count(entry->program, KTSTR_TABLE_STRINGS))
		return entry_refuse(entry, "%s %u is no string", name, at);
	text = program_string(entry->program, at - 1);
	length = strlen(text);
	for (const char *p = text; *p; p++)
		if (*p < ' ' || *p > '~' || *p == '/')
			return entry_refuse(entry, "%s holds a character that is not printable, or a slash", name);
	return (length && length <= KTSTR_MAX_COMM) ||
	       entry_refuse(entry, "%s of %zu bytes, 1 to %u", name, length, KTSTR_MAX_COMM);
}

bool field_policy(const struct entry *entry, uint32_t policy, int32_t priority, int32_t nice)
{
	bool realtime = policy == KTSTR_POLICY_FIFO || policy == KTSTR_POLICY_RR;

	if (policy > KTSTR_POLICY_EXT)
		return entry_refuse(entry, "policy %u is unknown", policy);
	/* 99 is the agent's own: a worker there could keep it from ever running. */
	if (realtime ? priority < 1 || priority > 98 : priority != 0)
		return entry_refuse(entry, "priority %d under policy %u", priority, policy);
	return (nice >= -20 && nice <= 19) || entry_refuse(entry, "nice %d, -20 to 19", nice);
}

bool field_strings(const struct entry *entry, const char *name, uint32_t at, uint32_t strings)
{
	uint32_t bytes = program_count(entry->program, KTSTR_TABLE_STRINGS);
	uint64_t end = at;

	for (uint32_t i = 0; i < strings; i++) {
		if (end >= bytes)
			return entry_refuse(entry, "%s has %u strings, expected %u", name, i, strings);
		end += strlen(program_string(entry->program, (uint32_t)end)) + 1;
	}
	return end - at <= KTSTR_MAX_ARG_BYTES || entry_refuse(entry, "%s of %llu bytes, at most %u", name,
							       (unsigned long long)(end - at), KTSTR_MAX_ARG_BYTES);
}
