// SPDX-License-Identifier: GPL-2.0-only
/* The mutex of three states of "Futexes Are Tricky" (Drepper), which wakes only where somebody may wait. */
#include "work/lock.h"

enum { FREE, TAKEN, WANTED };

bool lock_take(struct self *self, struct lock *lock, uint64_t *waits)
{
	uint32_t was = FREE;
	long waited;

	if (atomic_compare_exchange_strong(&lock->word, &was, TAKEN))
		return true;
	while (atomic_exchange(&lock->word, WANTED) != FREE) {
		waited = block_while(self, &lock->word, WANTED, &lock->given_ns);
		if (waited == BLOCK_STOPPED)
			return false;
		*waits += (uint64_t)waited; /* 0: it was given away before we slept */
	}
	return true;
}

void lock_give(struct lock *lock)
{
	atomic_store_explicit(&lock->given_ns, now_ns(), memory_order_relaxed);
	if (atomic_exchange(&lock->word, FREE) == WANTED)
		wake(&lock->word, 1);
}
