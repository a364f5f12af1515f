// SPDX-License-Identifier: GPL-2.0-only
/* params: spins before each exchange of one byte with the partner. */
#include <unistd.h>

#include "work/work.h"

/* Both send before they wait, so one may be a byte ahead: the stamps of two have room. */
struct shared {
	_Atomic uint64_t sent_ns[2][2]; /* to each, by its place; of even and of odd bytes */
};

static bool iterate(struct self *self)
{
	struct slot *slot = self->slot;
	struct shared *shared = slot->shared;
	uint32_t odd = atomic_load_explicit(&slot->iterations, memory_order_relaxed) % 2;
	char byte = 'x';

	spin(self, slot->params[0]);
	if (stopped(self))
		return true;
	atomic_store_explicit(&shared->sent_ns[1 - slot->place][odd], now_ns(), memory_order_relaxed);
	if (write(slot->write_fd, &byte, 1) != 1 || block_read(self, slot->read_fd, &byte, 1) != 1)
		return false;
	woken(self, atomic_load_explicit(&shared->sent_ns[slot->place][odd], memory_order_relaxed));
	return true;
}

const struct work_ops work_pipe_io = { .iterate = iterate };
