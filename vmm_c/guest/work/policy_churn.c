// SPDX-License-Identifier: GPL-2.0-only
/* params: spins under each policy. */
#include <sched.h>
#include <stdlib.h>

#include "work/own.h"

enum counts_at { NORMAL, BATCH, IDLE, FIFO, RR, POLICIES };

struct state {
	struct own_policy declared;
	uint32_t next;
};

static bool prepare(struct self *self)
{
	return work_state(self, sizeof(struct state));
}

static bool begin(struct self *self)
{
	struct state *state = self->state;

	return own_policy_read(&state->declared);
}

static bool iterate(struct self *self)
{
	static const struct {
		int policy;
		struct sched_param param;
	} policies[POLICIES] = {
		[NORMAL] = { SCHED_OTHER, { 0 } }, [BATCH] = { SCHED_BATCH, { 0 } }, [IDLE] = { SCHED_IDLE, { 0 } },
		[FIFO] = { SCHED_FIFO, { 1 } },	   [RR] = { SCHED_RR, { 1 } },
	};
	struct state *state = self->state;
	uint32_t next = state->next;

	spin(self, self->slot->params[0]);
	if (stopped(self))
		return true;
	if (sched_setscheduler(0, policies[next].policy, &policies[next].param) == 0)
		tally(self, next, sched_getscheduler(0) == policies[next].policy);
	self->slot->report.measuring_calls++;
	state->next = (next + 1) % POLICIES;
	sched_yield();
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	own_policy_set(&state->declared);
	free(state);
}

const struct work_ops work_policy_churn = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
