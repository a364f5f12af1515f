// SPDX-License-Identifier: GPL-2.0-only
/* params: victims, ns between two wakeups, spins at each. The first of a crew is of policy fifo, the others are as
 * they were declared. */
#include <stdlib.h>
#include <sys/resource.h>

#include "work/own.h"

enum counts_at { WAKEUPS, PREEMPTED };

#define PRIORITY 50

struct state {
	struct own_policy declared;
	uint64_t next_ns;
	long switches; /* involuntary, so far */
};

static bool prepare(struct self *self)
{
	return work_state(self, sizeof(struct state));
}

static long switches(struct self *self)
{
	struct rusage usage;

	self->slot->report.measuring_calls++;
	return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

static bool storm(struct self *self, struct state *state)
{
	uint64_t interval = self->slot->params[1];

	state->next_ns += interval;
	if (state->next_ns < self->slot->looked_ns) /* too late for more than one */
		state->next_ns = self->slot->looked_ns + interval;
	if (block_until(self, state->next_ns) != 0)
		return false;
	tally(self, WAKEUPS, 1);
	spin(self, self->slot->params[2]);
	return true;
}

static bool suffer(struct self *self, struct state *state)
{
	long now;

	spin(self, PIECE_UNITS);
	now = switches(self);
	tally(self, PREEMPTED, (uint64_t)(now - state->switches));
	state->switches = now;
	return true;
}

static bool begin(struct self *self)
{
	struct state *state = self->state;

	state->next_ns = self->slot->looked_ns;
	state->switches = switches(self);
	return own_policy_read(&state->declared) && (self->slot->place != 0 || own_fifo(PRIORITY));
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;

	return self->slot->place == 0 ? storm(self, state) : suffer(self, state);
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	if (self->slot->place == 0)
		own_policy_set(&state->declared);
	free(state);
}

const struct work_ops work_preempt_storm = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
