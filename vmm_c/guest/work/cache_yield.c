// SPDX-License-Identifier: GPL-2.0-only
/* params: KiB, stride in bytes. */
#include <sched.h>

#include "work/memory.h"

#define STEPS 1024

enum counts_at { FOOTPRINT };

static bool prepare(struct self *self)
{
	return walk_prepare(self, self->slot->params[0], self->slot->params[1]);
}

static bool iterate(struct self *self)
{
	walk(self, STEPS);
	if (stopped(self))
		return false;
	sched_yield();
	return true;
}

static void finish(struct self *self)
{
	tally(self, FOOTPRINT, walk_footprint(self));
}

const struct work_ops work_cache_yield = { .prepare = prepare, .iterate = iterate, .finish = finish };
