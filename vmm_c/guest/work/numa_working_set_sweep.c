// SPDX-License-Identifier: GPL-2.0-only
/* params: KiB of memory, how often to go through it on each node. */
#include <stdlib.h>

#include "work/nodes.h"

enum counts_at { ROTATIONS, PAGES };

struct state {
	struct region region;
	uint32_t node;
};

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	return region_make(&state->region, self->slot->params[0]) || work_refuse(self->slot, REFUSED_MEMORY);
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;
	uint64_t nodes = nodes_allowed();

	if (nodes) {
		state->node = node_after(nodes, state->node);
		tally(self, PAGES, region_bind(self, &state->region, state->node));
		tally(self, ROTATIONS, !stopped(self));
	}
	for (uint64_t pass = 0; pass < self->slot->params[1] && !stopped(self); pass++)
		region_walk(self, &state->region);
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	region_free(&state->region);
	free(state);
}

const struct work_ops work_numa_working_set_sweep = { .prepare = prepare, .iterate = iterate, .finish = finish };
