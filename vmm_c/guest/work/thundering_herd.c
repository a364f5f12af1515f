// SPDX-License-Identifier: GPL-2.0-only
/* params: how many are called, calls an iteration, ns between two of them. One of those who are called gets a prize. */
#include "work/herd.h"

#define SPINS 1024

enum counts_at { WON = HERD_SLEPT + 1 };

static bool call_all(struct self *self)
{
	struct slot *slot = self->slot;
	struct herd *herd = slot->shared;

	for (uint64_t batch = 0; batch < slot->params[1]; batch++) {
		if (block_until(self, slot->looked_ns + slot->params[2]) != 0 || !herd_await(self))
			return false;
		atomic_store(&herd->prize, 1);
		herd_call(self);
		slot->units++;
	}
	return true;
}

static bool iterate(struct self *self)
{
	struct herd *herd = self->slot->shared;

	if (!self->slot->place)
		return call_all(self);
	if (!herd_called(self))
		return false;
	if (atomic_exchange(&herd->prize, 0)) {
		tally(self, WON, 1);
		spin(self, SPINS);
	}
	self->slot->units++;
	herd_done(self);
	return true;
}

const struct work_ops work_thundering_herd = { .iterate = iterate };
