// SPDX-License-Identifier: GPL-2.0-only
#include "worker/frozen.h"

#include <string.h>

#include "base/clock.h"
#include "proc/cgroup.h"

static uint64_t since_ns[KTSTR_MAX_CGROUPS]; /* 0: it is not */
static uint32_t count;

static bool is_in(int32_t cgroup, uint32_t outer)
{
	const char *name = cgroup_name((int32_t)outer);
	size_t length = strlen(name);

	return cgroup >= 0 && strncmp(cgroup_name(cgroup), name, length) == 0 &&
	       (cgroup_name(cgroup)[length] == '/' || !cgroup_name(cgroup)[length]);
}

void frozen_forget(uint32_t cgroup)
{
	count -= !!since_ns[cgroup];
	since_ns[cgroup] = 0;
}

void frozen_begin(uint32_t cgroup)
{
	count += !since_ns[cgroup];
	if (!since_ns[cgroup])
		since_ns[cgroup] = now_ns();
}

/* The longest of the cgroups that it is in, since its release. */
static uint64_t frozen_ns(const struct worker *worker, uint64_t now)
{
	uint64_t longest = 0;

	for (uint32_t id = 0; id < KTSTR_MAX_CGROUPS; id++) {
		uint64_t since = since_ns[id];

		if (!since || !cgroup_made(id) || !is_in(worker->cgroup, id))
			continue;
		if (since < worker->slot->release_ns)
			since = worker->slot->release_ns;
		if (now - since > longest)
			longest = now - since;
	}
	return longest;
}

void frozen_leave(struct worker *worker)
{
	if (count && worker->pid && atomic_load(&worker->slot->gate) == GATE_OPEN)
		atomic_fetch_add(&worker->slot->frozen_ns, frozen_ns(worker, now_ns()));
}

void frozen_end(uint32_t cgroup)
{
	if (!since_ns[cgroup])
		return;
	for (uint32_t id = 0; id < registry_workers(); id++)
		if (registry_worker(id)->pid && is_in(registry_worker(id)->cgroup, cgroup))
			frozen_leave(registry_worker(id));
	frozen_forget(cgroup);
}
