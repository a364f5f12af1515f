// SPDX-License-Identifier: GPL-2.0-only
/* params: workers of one mutex, spins while it holds it, spins before it wants it. */
#include "work/lock.h"

enum counts_at { ACQUIRED, CONTENDED, OVERLAPS };

struct shared {
	struct lock lock;
	_Atomic uint32_t inside; /* how many have it */
};

static bool iterate(struct self *self)
{
	struct shared *shared = self->slot->shared;
	uint64_t waits = 0;

	spin(self, self->slot->params[2]);
	if (stopped(self))
		return true;
	if (!lock_take(self, &shared->lock, &waits))
		return false;
	tally(self, ACQUIRED, 1);
	tally(self, CONTENDED, waits != 0);
	tally(self, OVERLAPS, atomic_fetch_add(&shared->inside, 1) != 0);
	spin(self, self->slot->params[1]);
	atomic_fetch_sub(&shared->inside, 1);
	lock_give(&shared->lock);
	return true;
}

const struct work_ops work_mutex_contention = { .iterate = iterate };
