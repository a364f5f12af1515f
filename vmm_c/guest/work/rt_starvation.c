// SPDX-License-Identifier: GPL-2.0-only
/* params: victims, ns of a burst, ns between bursts. The first of a crew is of policy fifo. */
#include <stdlib.h>

#include "work/own.h"

enum counts_at { BURSTS, BURST_NS };

#define PRIORITY 50
#define SPINS 1024

static bool prepare(struct self *self)
{
	return work_state(self, sizeof(struct own_policy));
}

static bool begin(struct self *self)
{
	return own_policy_read(self->state) && (self->slot->place != 0 || own_fifo(PRIORITY));
}

static bool starve_others(struct self *self)
{
	uint64_t until = measure_look(self->slot) + self->slot->params[1], cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	do
		spin(self, SPINS);
	while (measure_look(self->slot) < until && !stopped(self));
	tally(self, BURST_NS, clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns);
	self->slot->report.measuring_calls += 2;
	if (stopped(self))
		return true;
	tally(self, BURSTS, 1);
	return block_until(self, self->slot->looked_ns + self->slot->params[2]) == 0;
}

static bool iterate(struct self *self)
{
	if (self->slot->place == 0)
		return starve_others(self);
	spin(self, PIECE_UNITS);
	return true;
}

static void finish(struct self *self)
{
	if (self->slot->place == 0)
		own_policy_set(self->state);
	free(self->state);
}

const struct work_ops work_rt_starvation = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
