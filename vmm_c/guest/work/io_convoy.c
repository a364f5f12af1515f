// SPDX-License-Identifier: GPL-2.0-only
/* params: ns of a disk's wait. Each iteration writes the next block of its file; some of them sync it. */
#include <unistd.h>

#include "work/tempfile.h"

#define READS 4
#define WRITES_A_SYNC 16

enum counts_at { WRITTEN, READ, SYNCS, BLOCKS };

static bool prepare(struct self *self)
{
	return tempfile_prepare(self, true, 0);
}

static bool sync_file(struct self *self)
{
	struct tempfile *file = self->state;

	tally(self, SYNCS, 1);
	return fdatasync(file->fd) == 0;
}

static bool iterate(struct self *self)
{
	uint64_t round = atomic_load_explicit(&self->slot->iterations, memory_order_relaxed);

	if (!tempfile_write(self, round % TEMPFILE_BLOCKS))
		return false;
	self->slot->units++;
	tally(self, WRITTEN, TEMPFILE_BLOCK);
	for (int i = 0; i < READS; i++) {
		if (!tempfile_read_any(self))
			return false;
		self->slot->units++;
		tally(self, READ, TEMPFILE_BLOCK);
	}
	if ((round + 1) % WRITES_A_SYNC == 0 && !sync_file(self))
		return false;
	return tempfile_wait(self, self->slot->params[0]);
}

static void finish(struct self *self)
{
	tally(self, BLOCKS, tempfile_blocks_read(self));
}

const struct work_ops work_io_convoy = { .prepare = prepare, .iterate = iterate, .finish = finish };
