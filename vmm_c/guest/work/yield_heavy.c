// SPDX-License-Identifier: GPL-2.0-only
#include <sched.h>

#include "work/work.h"

static bool iterate(struct self *self)
{
	self->slot->units++;
	sched_yield();
	return true;
}

const struct work_ops work_yield_heavy = { .iterate = iterate };
