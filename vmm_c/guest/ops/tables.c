// SPDX-License-Identifier: GPL-2.0-only
/* What the tables of a program hold, the ops left out. */
#include <string.h>

#include "base/cpulist.h"
#include "ops/header.h"
#include "work/work.h"

static uint32_t count(const struct program *program, enum ktstr_table table)
{
	return program_count(program, table);
}

/* A relative path whose parts are plain names: nothing that climbs out of the scenario's cgroup. */
static bool plain_path(const char *name)
{
	const char *part = name;

	for (const char *p = name;; p++) {
		if (*p == '/' || *p == '\0') {
			size_t length = (size_t)(p - part);

			if (length == 0 || part[0] == '.' || length > 64)
				return false;
			part = p + 1;
		} else if ((unsigned char)*p <= ' ' || *p == '\x7f') {
			return false;
		}
		if (*p == '\0')
			return true;
	}
}

static bool check_cgroups(const struct program *program, struct why *why)
{
	for (uint32_t i = 0; i < count(program, KTSTR_TABLE_CGROUPS); i++) {
		const struct ktstr_cgroup *cgroup = &program->cgroups[i];
		uint32_t masks = count(program, KTSTR_TABLE_MASKS);
		const char *name;

		if (cgroup->name >= count(program, KTSTR_TABLE_STRINGS))
			return why_refuse(why, "cgroup %u: name %u is no string", i, cgroup->name);
		name = program_string(program, cgroup->name);
		if (strlen(name) >= KTSTR_CGROUP_NAME_BYTES || !plain_path(name))
			return why_refuse(why, "cgroup %u: name is not a plain relative path", i);
		if (cgroup->cpus > masks)
			return why_refuse(why, "cgroup %u: cpus %u of %u masks", i, cgroup->cpus, masks);
		if (cgroup->mems > masks)
			return why_refuse(why, "cgroup %u: mems %u of %u masks", i, cgroup->mems, masks);
		if (cgroup->reserved)
			return why_refuse(why, "cgroup %u: reserved %u, expected 0", i, cgroup->reserved);
	}
	return true;
}

static bool check_policy(const struct ktstr_work *work, uint32_t i, struct why *why)
{
	bool realtime = work->policy == KTSTR_POLICY_FIFO || work->policy == KTSTR_POLICY_RR;

	if (work->policy > KTSTR_POLICY_RR)
		return why_refuse(why, "work %u: policy %u is unknown", i, work->policy);
	/* 99 is the agent's own: a worker there could keep it from ever running. */
	if (realtime ? work->priority < 1 || work->priority > 98 : work->priority != 0)
		return why_refuse(why, "work %u: priority %d under policy %u", i, work->priority, work->policy);
	if (work->nice < -20 || work->nice > 19)
		return why_refuse(why, "work %u: nice %d, -20 to 19", i, work->nice);
	return true;
}

static bool check_range(const struct program *program, uint32_t i, uint8_t *taken, struct why *why)
{
	uint32_t workers = count(program, KTSTR_TABLE_WORKERS);
	const struct ktstr_work *work = &program->works[i];

	if (work->first_worker > workers || work->worker_count > workers - work->first_worker)
		return why_refuse(why, "work %u: first_worker %u and worker_count %u of %u workers", i, work->first_worker,
			      work->worker_count, workers);
	for (uint32_t k = 0; k < work->worker_count; k++)
		if (taken[work->first_worker + k]++)
			return why_refuse(why, "work %u: first_worker %u and worker_count %u hold one of another work", i,
				      work->first_worker, work->worker_count);
	return true;
}

static bool check_work(const struct program *program, uint32_t i, struct why *why)
{
	const struct ktstr_work *work = &program->works[i];
	const struct work_type *type = work_type(work->type);
	uint32_t wrong;

	if (!type)
		return why_refuse(why, "work %u: type %u is unknown", i, work->type);
	if (work->cgroup < -1 || work->cgroup >= (int32_t)count(program, KTSTR_TABLE_CGROUPS))
		return why_refuse(why, "work %u: cgroup %d of %u", i, work->cgroup, count(program, KTSTR_TABLE_CGROUPS));
	if (!work->worker_count || work->worker_count % type->group)
		return why_refuse(why, "work %u: worker_count %u of %s, expected a multiple of %u", i, work->worker_count,
			      type->name, type->group);
	if (!work_params_fit(work->type, work->params, &wrong))
		return why_refuse(why, "work %u: params[%u] of %s is out of bounds", i, wrong, type->name);
	if (work->affinity > count(program, KTSTR_TABLE_MASKS))
		return why_refuse(why, "work %u: affinity %u of %u masks", i, work->affinity,
			      count(program, KTSTR_TABLE_MASKS));
	return check_policy(work, i, why);
}

static bool check_workers(const struct program *program, struct why *why)
{
	uint8_t taken[KTSTR_MAX_WORKERS] = { 0 }, placed[KTSTR_MAX_WORKERS] = { 0 };
	uint32_t workers = count(program, KTSTR_TABLE_WORKERS);

	for (uint32_t i = 0; i < count(program, KTSTR_TABLE_WORKS); i++)
		if (!check_work(program, i, why) || !check_range(program, i, taken, why))
			return false;
	for (uint32_t i = 0; i < workers; i++) {
		const struct ktstr_worker *worker = &program->workers[i];

		if (!taken[i])
			return why_refuse(why, "worker %u: belongs to no work", i);
		if (worker->start_offset_ns > KTSTR_MAX_NS)
			return why_refuse(why, "worker %u: start_offset_ns %llu, at most %llu", i,
				      (unsigned long long)worker->start_offset_ns, (unsigned long long)KTSTR_MAX_NS);
		if (worker->order >= workers || placed[worker->order]++)
			return why_refuse(why, "worker %u: order %u is taken, or not below %u", i, worker->order, workers);
		if (worker->reserved)
			return why_refuse(why, "worker %u: reserved %u, expected 0", i, worker->reserved);
	}
	return true;
}

/* argc strings, none beyond the table, no more bytes than allowed. */
static bool check_argv(const struct program *program, uint32_t i, struct why *why)
{
	uint32_t strings = count(program, KTSTR_TABLE_STRINGS);
	const struct ktstr_payload *payload = &program->payloads[i];
	uint64_t at = payload->argv;

	if (!payload->argc || payload->argc > KTSTR_MAX_ARGS)
		return why_refuse(why, "payload %u: argc %u, 1 to %u", i, payload->argc, KTSTR_MAX_ARGS);
	for (uint32_t k = 0; k < payload->argc; k++) {
		if (at >= strings)
			return why_refuse(why, "payload %u: argv has %u strings, expected %u", i, k, payload->argc);
		at += strlen(program_string(program, (uint32_t)at)) + 1;
	}
	if (at - payload->argv > KTSTR_MAX_ARG_BYTES)
		return why_refuse(why, "payload %u: argv of %llu bytes, at most %u", i,
			      (unsigned long long)(at - payload->argv), KTSTR_MAX_ARG_BYTES);
	return program_string(program, payload->argv)[0] != '\0' ||
	       why_refuse(why, "payload %u: argv begins with an empty string", i);
}

static bool check_payloads(const struct program *program, struct why *why)
{
	for (uint32_t i = 0; i < count(program, KTSTR_TABLE_PAYLOADS); i++) {
		const struct ktstr_payload *payload = &program->payloads[i];

		if (!check_argv(program, i, why))
			return false;
		if (payload->cgroup < -1 || payload->cgroup >= (int32_t)count(program, KTSTR_TABLE_CGROUPS))
			return why_refuse(why, "payload %u: cgroup %d of %u", i, payload->cgroup,
				      count(program, KTSTR_TABLE_CGROUPS));
		if (payload->affinity > count(program, KTSTR_TABLE_MASKS))
			return why_refuse(why, "payload %u: affinity %u of %u masks", i, payload->affinity,
				      count(program, KTSTR_TABLE_MASKS));
	}
	return true;
}

bool tables_check(const struct program *program, struct why *why)
{
	for (uint32_t i = 0; i < count(program, KTSTR_TABLE_MASKS); i++)
		if (cpumask_empty(&program->masks[i]))
			return why_refuse(why, "mask %u: bits are all 0", i + 1);
	return check_cgroups(program, why) && check_workers(program, why) && check_payloads(program, why);
}
