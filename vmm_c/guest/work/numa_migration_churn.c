// SPDX-License-Identifier: GPL-2.0-only
/* params: ns on a node, KiB of memory. Where it may use one node alone, it stays and works there. */
#include <sched.h>
#include <stdlib.h>

#include "work/nodes.h"

enum counts_at { HOPS, PAGES };

struct state {
	struct region region;
	struct ktstr_cpumask declared;
	struct ktstr_cpumask cpus[KTSTR_MAX_NODES];
	uint64_t nodes; /* with memory and CPUs for it */
};

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	return region_make(&state->region, self->slot->params[1]) || work_refuse(self->slot, REFUSED_MEMORY);
}

static bool begin(struct self *self)
{
	struct state *state = self->state;
	uint64_t allowed = nodes_allowed();

	if (!own_cpus(0, &state->declared))
		return false;
	for (uint32_t node = 0; node < KTSTR_MAX_NODES; node++) {
		if (!(allowed >> node & 1))
			continue;
		state->cpus[node] = node_cpus(node, &state->declared);
		if (!cpumask_empty(&state->cpus[node]))
			state->nodes |= UINT64_C(1) << node;
	}
	return true;
}

static uint32_t node_now(void)
{
	unsigned int cpu, node = 0;

	getcpu(&cpu, &node);
	return node;
}

static void hop(struct self *self, struct state *state)
{
	uint32_t before = node_now(), node = node_after(state->nodes, before);

	if (node == before || own_set_cpus(self, 0, &state->cpus[node]) != 0)
		return;
	tally(self, HOPS, node_now() == node);
	tally(self, PAGES, region_bind(self, &state->region, node));
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;
	uint64_t until = self->slot->looked_ns + self->slot->params[0];

	if (state->nodes)
		hop(self, state);
	do
		region_walk(self, &state->region);
	while (measure_look(self->slot) < until && !stopped(self));
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	if (!cpumask_empty(&state->declared))
		sched_setaffinity(0, sizeof(state->declared), (const cpu_set_t *)&state->declared);
	region_free(&state->region);
	free(state);
}

const struct work_ops work_numa_migration_churn = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
