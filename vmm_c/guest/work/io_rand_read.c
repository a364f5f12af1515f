// SPDX-License-Identifier: GPL-2.0-only
/* params: ns of a disk's wait. */
#include <fcntl.h>

#include "work/tempfile.h"

enum counts_at { READ, BLOCKS, SWITCHES };

static bool prepare(struct self *self)
{
	return tempfile_prepare(self, true, O_DIRECT);
}

static bool iterate(struct self *self)
{
	if (!tempfile_read_any(self))
		return false;
	self->slot->units++;
	tally(self, READ, TEMPFILE_BLOCK);
	return tempfile_wait(self, self->slot->params[0]);
}

static void finish(struct self *self)
{
	tally(self, BLOCKS, tempfile_blocks_read(self));
	tally(self, SWITCHES, switches_since(self));
}

const struct work_ops work_io_rand_read = {
	.prepare = prepare, .begin = switches_begin, .iterate = iterate, .finish = finish
};
