// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file that a worker reads and writes. A guest has no disk: it is a temporary one, in memory, which never makes
 * anybody wait. So the types that use it sleep where a disk would have them wait.
 */
#ifndef KTSTR_WORK_TEMPFILE_H
#define KTSTR_WORK_TEMPFILE_H

#include "work/work.h"

#define TEMPFILE_BLOCK 4096
#define TEMPFILE_BLOCKS 256

struct tempfile {
	_Alignas(TEMPFILE_BLOCK) uint64_t block[TEMPFILE_BLOCK / sizeof(uint64_t)]; /* what is read or written */
	uint64_t random;
	uint64_t read_from[TEMPFILE_BLOCKS / 64]; /* bits */
	int fd;
};

/* Makes self->state one. full: with its number in each block. flags: of open(2), where the file system takes them. */
bool tempfile_prepare(struct self *self, bool full, int flags);
/* False: it did not write all of it. */
bool tempfile_write(struct self *self, uint64_t block);
/* Of a block that is drawn. False: it does not have its number. */
bool tempfile_read_any(struct self *self);
/* Waits for that long, as for a disk. False: it was stopped. */
bool tempfile_wait(struct self *self, uint64_t ns);
/* Bytes of it that the kernel has. */
uint64_t tempfile_bytes(const struct self *self);
/* From how many of its blocks it has read. */
uint64_t tempfile_blocks_read(const struct self *self);

#endif
