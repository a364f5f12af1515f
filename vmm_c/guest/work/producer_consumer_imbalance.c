// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: producers, spins of a producer for an item, spins of the consumer, items that the queue holds. The queue is
 * a number: nothing is in the items.
 */
#include "work/lock.h"

enum counts_at { ITEMS, WAITS };
enum params_at { PRODUCERS, PRODUCE, CONSUME, CAPACITY };

/* What one side waits for: that the other has made a step. */
struct side {
	_Alignas(64) _Atomic uint32_t steps; /* futex */
	_Atomic uint32_t waiting;
	_Atomic uint64_t sent_ns;
};

struct shared {
	_Alignas(64) _Atomic uint32_t filled;
	struct side room, goods;
};

/* A unit less, or more, unless the queue is empty, or full. */
static bool step(struct shared *shared, uint32_t bound, uint32_t by)
{
	uint32_t filled = atomic_load(&shared->filled);

	while (filled != bound)
		if (atomic_compare_exchange_weak(&shared->filled, &filled, filled + by))
			return true;
	return false;
}

/* Sleep until it can be done. False: stopped. */
static bool step_or_wait(struct self *self, struct side *side, uint32_t bound, uint32_t by)
{
	struct shared *shared = self->slot->shared;

	for (;;) {
		uint32_t steps = atomic_load(&side->steps);
		long waited;

		atomic_fetch_add(&side->waiting, 1);
		if (step(shared, bound, by)) {
			atomic_fetch_sub(&side->waiting, 1);
			return true;
		}
		waited = block_while(self, &side->steps, steps, &side->sent_ns);
		atomic_fetch_sub(&side->waiting, 1);
		if (waited == BLOCK_STOPPED)
			return false;
		tally(self, WAITS, (uint64_t)waited);
	}
}

static void tell(struct side *side)
{
	atomic_store_explicit(&side->sent_ns, now_ns(), memory_order_relaxed);
	atomic_fetch_add(&side->steps, 1);
	if (atomic_load(&side->waiting))
		wake(&side->steps, 1);
}

static bool iterate(struct self *self)
{
	struct shared *shared = self->slot->shared;
	const uint64_t *params = self->slot->params;
	bool consumes = self->slot->place == 0;
	uint32_t bound = consumes ? 0 : (uint32_t)params[CAPACITY], by = consumes ? UINT32_MAX : 1;

	if (!consumes)
		spin(self, params[PRODUCE]);
	if (stopped(self))
		return true;
	if (!step(shared, bound, by) && !step_or_wait(self, consumes ? &shared->goods : &shared->room, bound, by))
		return false;
	tally(self, ITEMS, 1);
	tell(consumes ? &shared->room : &shared->goods);
	if (consumes)
		spin(self, params[CONSUME]);
	return true;
}

const struct work_ops work_producer_consumer_imbalance = { .iterate = iterate };
