// SPDX-License-Identifier: GPL-2.0-only
/* What the tables of a program hold, the ops left out: masks, cgroups and payloads here. */
#include <string.h>

#include "base/cpulist.h"
#include "ops/fields.h"
#include "ops/works.h"

/* A relative path whose parts are plain names: nothing that climbs out of the scenario's cgroup. */
static bool plain_path(const char *name)
{
	const char *part = name;
	uint32_t parts = 0;

	for (const char *p = name;; p++) {
		if (*p == '/' || *p == '\0') {
			size_t length = (size_t)(p - part);

			if (length == 0 || part[0] == '.' || length > 64 || ++parts > KTSTR_MAX_CGROUP_DEPTH)
				return false;
			part = p + 1;
		} else if (*p <= ' ' || *p > '~') {
			return false;
		}
		if (*p == '\0')
			return true;
	}
}

static bool check_cgroup(const struct entry *entry, const struct ktstr_cgroup *cgroup)
{
	const char *name;

	if (cgroup->name >= program_count(entry->program, KTSTR_TABLE_STRINGS))
		return entry_refuse(entry, "name %u is no string", cgroup->name);
	name = program_string(entry->program, cgroup->name);
	if (strlen(name) >= KTSTR_CGROUP_NAME_BYTES || !plain_path(name))
		return entry_refuse(entry, "name is not a plain relative path of at most %u parts",
				    KTSTR_MAX_CGROUP_DEPTH);
	if (!field_mask(entry, "cpus", cgroup->cpus) || !field_mask(entry, "mems", cgroup->mems))
		return false;
	return !cgroup->reserved || entry_refuse(entry, "reserved %u, expected 0", cgroup->reserved);
}

static bool check_argv(const struct entry *entry, const struct ktstr_payload *payload)
{
	if (!payload->argc || payload->argc > KTSTR_MAX_ARGS)
		return entry_refuse(entry, "argc %u, 1 to %u", payload->argc, KTSTR_MAX_ARGS);
	if (!field_strings(entry, "argv", payload->argv, payload->argc))
		return false;
	return program_string(entry->program, payload->argv)[0] != '\0' ||
	       entry_refuse(entry, "argv begins with an empty string");
}

static bool check_env(const struct entry *entry, const struct ktstr_payload *payload)
{
	const char *text;

	if (payload->envc > KTSTR_MAX_ENV || (!payload->envc && payload->env))
		return entry_refuse(entry, "env %u of envc %u, at most %u", payload->env, payload->envc, KTSTR_MAX_ENV);
	if (!field_strings(entry, "env", payload->env, payload->envc))
		return false;
	text = program_string(entry->program, payload->env);
	for (uint32_t i = 0; i < payload->envc; i++, text += strlen(text) + 1)
		if (!text[0] || !strchr(text + 1, '='))
			return entry_refuse(entry, "env[%u] is not NAME=VALUE", i);
	return true;
}

static bool check_folder(const struct entry *entry, uint32_t at)
{
	const char *text;

	if (!at)
		return true;
	if (at > program_count(entry->program, KTSTR_TABLE_STRINGS))
		return entry_refuse(entry, "folder %u is no string", at);
	text = program_string(entry->program, at - 1);
	if (text[0] != '/' || strlen(text) >= KTSTR_MAX_TEXT_BYTES)
		return entry_refuse(entry, "folder does not begin with /, or is too long");
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == '\x7f')
			return entry_refuse(entry, "folder holds a control character");
	return true;
}

static bool check_payload(const struct entry *entry, const struct ktstr_payload *payload)
{
	if (!check_argv(entry, payload) || !field_cgroup(entry, payload->cgroup) ||
	    !field_mask(entry, "affinity", payload->affinity) || !check_env(entry, payload) ||
	    !check_folder(entry, payload->folder))
		return false;
	if (payload->policy == KTSTR_POLICY_DEADLINE)
		return entry_refuse(entry, "policy %u, and it has no deadline", payload->policy);
	return field_policy(entry, payload->policy, payload->priority, payload->nice);
}

bool tables_check(const struct program *program, struct why *why)
{
	struct entry entry = { program, "mask", 0, why };

	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_MASKS); i++)
		if (cpumask_empty(&program->masks[i]))
			return why_refuse(why, "mask %u: bits are all 0", i + 1);
	entry.what = "cgroup";
	for (entry.id = 0; entry.id < program_count(program, KTSTR_TABLE_CGROUPS); entry.id++)
		if (!check_cgroup(&entry, &program->cgroups[entry.id]))
			return false;
	if (!works_check(program, why))
		return false;
	entry.what = "payload";
	for (entry.id = 0; entry.id < program_count(program, KTSTR_TABLE_PAYLOADS); entry.id++)
		if (!check_payload(&entry, &program->payloads[entry.id]))
			return false;
	return true;
}
