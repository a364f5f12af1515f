// SPDX-License-Identifier: GPL-2.0-only
#include <sched.h>

#include "work/work.h"

#define SPINS 1024

static bool iterate(struct self *self)
{
	spin(self, SPINS);
	sched_yield();
	return true;
}

const struct work_ops work_mixed = { .iterate = iterate };
