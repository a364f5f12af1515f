// SPDX-License-Identifier: GPL-2.0-only
#include "work/herd.h"

/* False: it was stopped. */
static bool await(struct self *self, _Atomic uint32_t *word, uint32_t before, const _Atomic uint64_t *sent_ns)
{
	long slept = block_while(self, word, before, sent_ns);

	tally(self, HERD_SLEPT, slept == 1);
	return slept != BLOCK_STOPPED;
}

bool herd_await(struct self *self)
{
	struct herd *herd = self->slot->shared;
	uint32_t calls = atomic_load(&herd->calls);

	return calls == 0 || await(self, &herd->done, calls - 1, &herd->done_ns);
}

void herd_call(struct self *self)
{
	struct herd *herd = self->slot->shared;

	atomic_store(&herd->busy, self->slot->group - 1);
	atomic_store(&herd->sent_ns, now_ns());
	atomic_fetch_add(&herd->calls, 1);
	tally(self, HERD_WOKE, wake(&herd->calls, WAKE_ALL));
}

bool herd_called(struct self *self)
{
	struct herd *herd = self->slot->shared;
	uint64_t before = atomic_load_explicit(&self->slot->iterations, memory_order_relaxed);

	return await(self, &herd->calls, (uint32_t)before, &herd->sent_ns);
}

void herd_done(struct self *self)
{
	struct herd *herd = self->slot->shared;

	if (atomic_fetch_sub(&herd->busy, 1) != 1)
		return;
	atomic_store(&herd->done_ns, now_ns());
	atomic_fetch_add(&herd->done, 1);
	tally(self, HERD_WOKE, wake(&herd->done, 1));
}
