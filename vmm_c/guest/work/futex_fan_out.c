// SPDX-License-Identifier: GPL-2.0-only
/* params: how many are called, spins of each. */
#include "work/herd.h"

static bool iterate(struct self *self)
{
	if (self->slot->place && !herd_called(self))
		return false;
	spin(self, self->slot->params[1]);
	if (stopped(self) || (!self->slot->place && !herd_await(self)))
		return false;
	if (self->slot->place)
		herd_done(self);
	else
		herd_call(self);
	return true;
}

const struct work_ops work_futex_fan_out = { .iterate = iterate };
