// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: spins a turn. The word holds the place whose turn it is. A partner that was quick has given
 * the turn back before we wait, or before the kernel puts us to sleep: then nobody was woken.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work/work.h"

struct shared {
	_Atomic uint32_t word;
	_Alignas(32) _Atomic uint64_t sent_ns;
};

static bool iterate(struct self *self)
{
	struct shared *shared = self->slot->shared;
	uint32_t own = self->slot->place, partner = 1 - own;
	long waited = -EAGAIN;

	spin(self, self->slot->params[0]);
	if (stopped(self))
		return true;
	atomic_store_explicit(&shared->sent_ns, now_ns(), memory_order_relaxed);
	atomic_store(&shared->word, partner);
	syscall(SYS_futex, &shared->word, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (atomic_load(&shared->word) != own) {
		waited = block_futex(self, &shared->word, partner);
		if (waited == BLOCK_STOPPED)
			return false;
	}
	if (waited == 0)
		woken(self, atomic_load_explicit(&shared->sent_ns, memory_order_relaxed));
	return true;
}

const struct work_ops work_futex_ping_pong = { .iterate = iterate };
