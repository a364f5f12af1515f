// SPDX-License-Identifier: GPL-2.0-only
/* params: burst ns of wall time, sleep ns. */
#include "work/work.h"

#define SPINS 64

enum counts_at { SWITCHES };

static bool iterate(struct self *self)
{
	uint64_t now = self->slot->looked_ns, until = now + self->slot->params[0];

	while (now < until) {
		spin(self, SPINS);
		now = measure_look(self->slot);
		if (stopped(self))
			return true;
	}
	return block_until(self, now + self->slot->params[1]) == 0;
}

static void finish(struct self *self)
{
	tally(self, SWITCHES, switches_since(self));
}

const struct work_ops work_idle_churn = { .begin = switches_begin, .iterate = iterate, .finish = finish };
