// SPDX-License-Identifier: GPL-2.0-only
/* params: KiB, steps before each exchange of one byte with the partner. */
#include "work/memory.h"
#include "work/pair.h"

enum counts_at { FOOTPRINT = EXCHANGED_BYTES + 1 };

static bool prepare(struct self *self)
{
	return walk_prepare(self, self->slot->params[0], CACHE_LINE);
}

static bool iterate(struct self *self)
{
	walk(self, self->slot->params[1]);
	return !stopped(self) && exchange(self);
}

static void finish(struct self *self)
{
	tally(self, FOOTPRINT, walk_footprint(self));
}

const struct work_ops work_cache_pipe = { .prepare = prepare, .iterate = iterate, .finish = finish };
