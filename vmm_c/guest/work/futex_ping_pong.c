// SPDX-License-Identifier: GPL-2.0-only
/* params: spins a turn. */
#include "work/pair.h"

static bool iterate(struct self *self)
{
	spin(self, self->slot->params[0]);
	return !stopped(self) && turn(self);
}

const struct work_ops work_futex_ping_pong = { .iterate = iterate };
