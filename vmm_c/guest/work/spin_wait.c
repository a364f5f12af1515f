// SPDX-License-Identifier: GPL-2.0-only
#include "work/work.h"

static bool iterate(struct self *self)
{
	spin(self, PIECE_UNITS);
	return true;
}

const struct work_ops work_spin_wait = { .iterate = iterate };
