// SPDX-License-Identifier: GPL-2.0-only
#include "work/tempfile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "work/memory.h"

#define FOLDER "/tmp"
#define ONLY_OURS 0600

static int open_one(int flags)
{
	int fd = open(FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, ONLY_OURS);

	/* A tmpfs takes O_DIRECT from Linux 6.6 on; it is the same to it. */
	return fd < 0 ? open(FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, ONLY_OURS) : fd;
}

bool tempfile_prepare(struct self *self, bool full, int flags)
{
	struct tempfile *file = memory_make(self, sizeof(*file));

	if (!file)
		return false;
	self->state = file;
	file->random = self->slot->report.index;
	file->fd = open_one(flags);
	if (file->fd < 0)
		return work_refuse(self->slot, REFUSED_FILE);
	for (uint64_t block = 0; full && block < TEMPFILE_BLOCKS; block++)
		if (!tempfile_write(self, block))
			return work_refuse(self->slot, REFUSED_FILE);
	return true;
}

bool tempfile_write(struct self *self, uint64_t block)
{
	struct tempfile *file = self->state;

	file->block[0] = block;
	return pwrite(file->fd, file->block, TEMPFILE_BLOCK, (off_t)(block * TEMPFILE_BLOCK)) == TEMPFILE_BLOCK;
}

bool tempfile_read_any(struct self *self)
{
	struct tempfile *file = self->state;
	uint64_t block = random_below(&file->random, TEMPFILE_BLOCKS);

	file->read_from[block / 64] |= UINT64_C(1) << block % 64;
	return pread(file->fd, file->block, TEMPFILE_BLOCK, (off_t)(block * TEMPFILE_BLOCK)) == TEMPFILE_BLOCK &&
	       file->block[0] == block;
}

bool tempfile_wait(struct self *self, uint64_t ns)
{
	return block_until(self, measure_look(self->slot) + ns) == 0;
}

uint64_t tempfile_bytes(const struct self *self)
{
	const struct tempfile *file = self->state;
	struct stat stat;

	return fstat(file->fd, &stat) == 0 ? (uint64_t)stat.st_blocks * 512 : 0;
}

uint64_t tempfile_blocks_read(const struct self *self)
{
	const struct tempfile *file = self->state;
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < TEMPFILE_BLOCKS / 64; i++)
		blocks += (uint64_t)__builtin_popcountll(file->read_from[i]);
	return blocks;
}
