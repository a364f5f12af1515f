// SPDX-License-Identifier: GPL-2.0-only
/* params: cgroups to make, ns in each. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "work/cgroups.h"

enum counts_at { MOVES, VISITED };

#define SPINS 1024
#define MAX_GROUPS 64
#define NAME_BYTES 32

struct state {
	char own[CGROUPS_PATH_BYTES];
	int own_threads, threads[MAX_GROUPS];
	uint64_t seen;
	uint32_t next;
};

static const char *name_of(const struct self *self, uint32_t at, char ret[NAME_BYTES])
{
	snprintf(ret, NAME_BYTES, "churn.%u.%u", self->slot->report.index, at);
	return ret;
}

static bool prepare(struct self *self)
{
	struct state *state;
	char name[NAME_BYTES];

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	if (!cgroups_own(self, state->own) || (state->own_threads = cgroups_threads_of(state->own)) < 0)
		return work_refuse(self->slot, REFUSED_CGROUPS);
	for (uint32_t i = 0; i < self->slot->params[0]; i++)
		if ((state->threads[i] = cgroups_make(state->own, name_of(self, i, name))) < 0)
			return work_refuse(self->slot, REFUSED_CGROUPS);
	return true;
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;
	uint64_t until = self->slot->looked_ns + self->slot->params[1];
	uint32_t next = state->next;
	char name[NAME_BYTES];

	if (cgroups_move(self, state->threads[next], 0) == BLOCK_STOPPED)
		return false;
	self->slot->report.measuring_calls += 3; /* open, read, close */
	if (cgroups_in(name_of(self, next, name))) {
		tally(self, MOVES, 1);
		tally(self, VISITED, !(state->seen >> next & 1));
		state->seen |= UINT64_C(1) << next;
	}
	state->next = (next + 1) % (uint32_t)self->slot->params[0];
	do
		spin(self, SPINS);
	while (measure_look(self->slot) < until && !stopped(self));
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;
	char name[NAME_BYTES];

	if (write(state->own_threads, "0", 1) == 1)
		for (uint32_t i = 0; i < self->slot->params[0]; i++)
			cgroups_remove(state->own, name_of(self, i, name));
	for (uint32_t i = 0; i < self->slot->params[0]; i++)
		close(state->threads[i]);
	close(state->own_threads);
	free(state);
}

const struct work_ops work_cgroup_churn = { .prepare = prepare, .iterate = iterate, .finish = finish };
