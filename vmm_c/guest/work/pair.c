// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <unistd.h>

#include "work/pair.h"

bool exchange(struct self *self)
{
	struct slot *slot = self->slot;
	struct exchange *shared = slot->shared;
	uint32_t odd = atomic_load_explicit(&slot->iterations, memory_order_relaxed) % 2;
	char byte = 'x';

	atomic_store_explicit(&shared->sent_ns[1 - slot->place][odd], now_ns(), memory_order_relaxed);
	if (write(slot->write_fd, &byte, 1) != 1 || block_read(self, slot->read_fd, &byte, 1) != 1)
		return false;
	tally(self, EXCHANGED_BYTES, 1);
	woken(self, atomic_load_explicit(&shared->sent_ns[slot->place][odd], memory_order_relaxed));
	return true;
}

/*
 * A partner that was quick has given the turn back before we wait, or before the kernel puts us to sleep: then nobody
 * was woken.
 */
bool turn(struct self *self)
{
	struct turns *shared = self->slot->shared;
	uint32_t own = self->slot->place, partner = 1 - own;
	long waited = -EAGAIN;

	atomic_store_explicit(&shared->sent_ns, now_ns(), memory_order_relaxed);
	atomic_store(&shared->word, partner);
	tally(self, TURN_WOKE, wake(&shared->word, 1));
	while (atomic_load(&shared->word) != own) {
		waited = block_futex(self, &shared->word, partner);
		if (waited == BLOCK_STOPPED)
			return false;
	}
	if (waited == 0) {
		tally(self, TURN_SLEPT, 1);
		woken(self, atomic_load_explicit(&shared->sent_ns, memory_order_relaxed));
	}
	return true;
}
