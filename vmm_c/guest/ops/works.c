// SPDX-License-Identifier: GPL-2.0-only
/* What the tables of works and workers hold. */
#include "ops/works.h"

#include <string.h>

#include "base/cpulist.h"
#include "ops/fields.h"
#include "work/work.h"

/* Of the kernel: no shorter runtime is scheduled (__checkparam_dl of kernel/sched/deadline.c). */
#define LEAST_RUNTIME_NS 1024
/* MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES and MPOL_F_NUMA_BALANCING of include/uapi/linux/mempolicy.h. */
#define STATIC_NODES (1U << 15)
#define RELATIVE_NODES (1U << 14)
#define NUMA_BALANCING (1U << 13)
#define WORK_FLAGS (KTSTR_WORK_THREADS | KTSTR_WORK_CGROUP_NAMESPACE | KTSTR_WORK_PAGES)

static bool check_deadline(const struct entry *entry, const struct ktstr_work *work)
{
	if (work->policy != KTSTR_POLICY_DEADLINE)
		return (!work->runtime_ns && !work->deadline_ns && !work->period_ns) ||
		       entry_refuse(entry, "runtime_ns, deadline_ns or period_ns under policy %u", work->policy);
	return (work->runtime_ns >= LEAST_RUNTIME_NS && work->runtime_ns <= work->deadline_ns &&
		work->deadline_ns <= work->period_ns && work->period_ns <= KTSTR_MAX_NS) ||
	       entry_refuse(entry, "runtime_ns %llu, deadline_ns %llu, period_ns %llu: expected them to ascend from %u",
			    (unsigned long long)work->runtime_ns, (unsigned long long)work->deadline_ns,
			    (unsigned long long)work->period_ns, LEAST_RUNTIME_NS);
}

static bool holds_no_other_than_nodes(const struct ktstr_cpumask *mask)
{
	for (uint32_t i = KTSTR_MAX_NODES / 64; i < KTSTR_CPUMASK_WORDS; i++)
		if (mask->bits[i])
			return false;
	return true;
}

static bool check_memory(const struct entry *entry, const struct ktstr_work *work)
{
	bool takes_nodes = work->mem_policy != KTSTR_MEM_POLICY_DEFAULT && work->mem_policy != KTSTR_MEM_POLICY_LOCAL;

	if (work->mem_policy > KTSTR_MEM_POLICY_WEIGHTED_INTERLEAVE)
		return entry_refuse(entry, "mem_policy %u is unknown", work->mem_policy);
	if (!field_mask(entry, "mem_nodes", work->mem_nodes))
		return false;
	if (takes_nodes != (work->mem_nodes != 0))
		return entry_refuse(entry, "mem_nodes %u under mem_policy %u", work->mem_nodes, work->mem_policy);
	if (work->mem_nodes && !holds_no_other_than_nodes(program_mask(entry->program, work->mem_nodes)))
		return entry_refuse(entry, "mem_nodes holds a node above %u", KTSTR_MAX_NODES - 1);
	if (work->mem_flags & ~(takes_nodes ? STATIC_NODES | RELATIVE_NODES | NUMA_BALANCING : 0) ||
	    (work->mem_flags & STATIC_NODES && work->mem_flags & RELATIVE_NODES))
		return entry_refuse(entry, "mem_flags %#x under mem_policy %u", work->mem_flags, work->mem_policy);
	return true;
}

static bool check_names(const struct entry *entry, const struct ktstr_work *work)
{
	if (work->flags & ~(uint32_t)WORK_FLAGS)
		return entry_refuse(entry, "flags %#x hold unknown ones", work->flags);
	if (work->pcomm && !(work->flags & KTSTR_WORK_THREADS))
		return entry_refuse(entry, "pcomm %u, and its workers are no threads", work->pcomm);
	return field_comm(entry, "comm", work->comm) && field_comm(entry, "pcomm", work->pcomm);
}

static bool check_work(const struct entry *entry, const struct ktstr_work *work)
{
	const struct work_type *type = work_type(work->type);
	uint32_t wrong;

	if (!type)
		return entry_refuse(entry, "type %u is unknown", work->type);
	if (!field_cgroup(entry, work->cgroup))
		return false;
	if (!work_params_fit(work->type, work->params, &wrong))
		return entry_refuse(entry, "params[%u] of %s is out of bounds", wrong, type->name);
	if (!work->worker_count || work->worker_count % work_group(work))
		return entry_refuse(entry, "worker_count %u of %s, expected a multiple of %u", work->worker_count,
				    type->name, work_group(work));
	return field_mask(entry, "affinity", work->affinity) &&
	       field_policy(entry, work->policy, work->priority, work->nice) && check_deadline(entry, work) &&
	       check_memory(entry, work) && check_names(entry, work);
}

static bool check_range(const struct entry *entry, const struct ktstr_work *work, uint8_t *taken)
{
	uint32_t workers = program_count(entry->program, KTSTR_TABLE_WORKERS);

	if (work->first_worker > workers || work->worker_count > workers - work->first_worker)
		return entry_refuse(entry, "first_worker %u and worker_count %u of %u workers", work->first_worker,
				    work->worker_count, workers);
	for (uint32_t k = 0; k < work->worker_count; k++)
		if (taken[work->first_worker + k]++)
			return entry_refuse(entry, "first_worker %u and worker_count %u hold one of another work",
					    work->first_worker, work->worker_count);
	return true;
}

static bool check_worker(const struct entry *entry, const struct ktstr_worker *worker, uint8_t *placed)
{
	uint32_t workers = program_count(entry->program, KTSTR_TABLE_WORKERS);

	if (worker->start_offset_ns > KTSTR_MAX_NS)
		return entry_refuse(entry, "start_offset_ns %llu, at most %llu",
				    (unsigned long long)worker->start_offset_ns, (unsigned long long)KTSTR_MAX_NS);
	if (worker->order >= workers || placed[worker->order]++)
		return entry_refuse(entry, "order %u is taken, or not below %u", worker->order, workers);
	return field_mask(entry, "affinity", worker->affinity);
}

bool works_check(const struct program *program, struct why *why)
{
	uint8_t taken[KTSTR_MAX_WORKERS] = { 0 }, placed[KTSTR_MAX_WORKERS] = { 0 };
	struct entry entry = { program, "work", 0, why };

	for (; entry.id < program_count(program, KTSTR_TABLE_WORKS); entry.id++)
		if (!check_work(&entry, &program->works[entry.id]) ||
		    !check_range(&entry, &program->works[entry.id], taken))
			return false;
	entry.what = "worker";
	for (entry.id = 0; entry.id < program_count(program, KTSTR_TABLE_WORKERS); entry.id++) {
		if (!taken[entry.id])
			return entry_refuse(&entry, "belongs to no work");
		if (!check_worker(&entry, &program->workers[entry.id], placed))
			return false;
	}
	return true;
}
