// SPDX-License-Identifier: GPL-2.0-only
/* params: ns of a disk's wait. A round writes a block of each stripe, and has all of it on the disk. */
#include <fcntl.h>
#include <unistd.h>

#include "work/tempfile.h"

#define STRIPES 16
#define STRIPE_BLOCKS (TEMPFILE_BLOCKS / STRIPES)

enum counts_at { WRITTEN, SYNCS, FILE_BYTES, SWITCHES };

static bool prepare(struct self *self)
{
	return tempfile_prepare(self, false, O_SYNC);
}

static bool iterate(struct self *self)
{
	struct tempfile *file = self->state;
	uint64_t round = atomic_load_explicit(&self->slot->iterations, memory_order_relaxed);

	for (uint64_t stripe = 0; stripe < STRIPES; stripe++) {
		if (!tempfile_write(self, stripe * STRIPE_BLOCKS + round % STRIPE_BLOCKS))
			return false;
		self->slot->units++;
		tally(self, WRITTEN, TEMPFILE_BLOCK);
	}
	if (fdatasync(file->fd) < 0)
		return false;
	tally(self, SYNCS, 1);
	return tempfile_wait(self, self->slot->params[0]);
}

static void finish(struct self *self)
{
	tally(self, FILE_BYTES, tempfile_bytes(self));
	tally(self, SWITCHES, switches_since(self));
}

const struct work_ops work_io_sync_write = {
	.prepare = prepare, .begin = switches_begin, .iterate = iterate, .finish = finish
};
