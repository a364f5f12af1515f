// SPDX-License-Identifier: GPL-2.0-only
/* params: spins before each exchange of one byte with the partner. */
#include "work/pair.h"

static bool iterate(struct self *self)
{
	spin(self, self->slot->params[0]);
	return !stopped(self) && exchange(self);
}

const struct work_ops work_pipe_io = { .iterate = iterate };
