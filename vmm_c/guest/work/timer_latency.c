// SPDX-License-Identifier: GPL-2.0-only
/* params: ns between two deadlines. They are where they are, however late it was woken: as in cyclictest. */
#include "work/work.h"

enum counts_at { MISSED };

static bool iterate(struct self *self)
{
	struct slot *slot = self->slot;
	uint64_t interval = slot->params[0], passed = (measure_look(slot) - slot->start_ns) / interval;
	uint64_t due = atomic_load_explicit(&slot->iterations, memory_order_relaxed) + slot->report.counts[MISSED];

	if (passed > due)
		tally(self, MISSED, passed - due);
	else
		passed = due;
	slot->units++;
	return block_until(self, slot->start_ns + (passed + 1) * interval) == 0;
}

const struct work_ops work_timer_latency = { .iterate = iterate };
