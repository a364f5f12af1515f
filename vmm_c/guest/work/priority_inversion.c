// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: whether the lock lends priority, spins of low while it holds it, ns that middle computes, ns of low's pause.
 *
 * A crew is three of policy fifo on one CPU. A round: low takes the lock and wakes high; high, which runs at once,
 * wakes middle and wants the lock. A lock that lends high's priority to low is given back before middle runs.
 */
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work/lock.h"
#include "work/own.h"

enum counts_at { LOCKS, INVERSIONS, LOCK_WAIT_NS, HOG_ROUNDS };
enum tier { LOW, MIDDLE, HIGH };

#define SPINS 1024

struct call {
	_Alignas(32) _Atomic uint32_t round; /* futex */
	_Atomic uint64_t sent_ns;
};

struct shared {
	struct lock lock;
	_Alignas(32) _Atomic uint32_t lending; /* futex of the other kind: the holder's tid */
	uint32_t cpu; /* where they are, once it was placed */
	struct call placed;
	struct call present[2]; /* MIDDLE and HIGH, to low */
	struct call go[2]; /* to MIDDLE and HIGH */
};

struct state {
	struct own_policy declared;
	struct ktstr_cpumask cpus;
	uint32_t round;
};

static bool prepare(struct self *self)
{
	return work_state(self, sizeof(struct state));
}

static void call(struct call *call, uint32_t round)
{
	atomic_store_explicit(&call->sent_ns, now_ns(), memory_order_relaxed);
	atomic_store(&call->round, round);
	wake(&call->round, WAKE_ALL);
}

/* Until the round is another than before. False: stopped. */
static bool await(struct self *self, struct call *call, uint32_t before)
{
	return block_while(self, &call->round, before, &call->sent_ns) != BLOCK_STOPPED;
}

/* All on the lowest CPU of low's; and low does not begin before the others wait. */
static bool begin(struct self *self)
{
	struct shared *shared = self->slot->shared;
	struct state *state = self->state;
	uint32_t place = self->slot->place;

	if (!own_policy_read(&state->declared) || !own_cpus(0, &state->cpus))
		return false;
	if (place == LOW) {
		shared->cpu = own_nth_cpu(&state->cpus, 0);
		call(&shared->placed, 1);
	}
	if (!await(self, &shared->placed, 0) || own_pin(self, 0, shared->cpu) == BLOCK_STOPPED || !own_fifo(1 + place))
		return false;
	if (place != LOW)
		call(&shared->present[place - MIDDLE], 1);
	else if (!await(self, &shared->present[0], 0) || !await(self, &shared->present[1], 0))
		return false;
	return true;
}

static bool take(struct self *self, struct shared *shared)
{
	uint32_t none = 0, own = (uint32_t)gettid();
	uint64_t waits = 0;

	if (!self->slot->params[0])
		return lock_take(self, &shared->lock, &waits);
	return atomic_compare_exchange_strong(&shared->lending, &none, own) ||
	       block_call(self, SYS_futex, (long[6]){ (long)&shared->lending, FUTEX_LOCK_PI }) == 0;
}

static void give(struct self *self, struct shared *shared)
{
	uint32_t own = (uint32_t)gettid();

	if (!self->slot->params[0])
		lock_give(&shared->lock);
	else if (!atomic_compare_exchange_strong(&shared->lending, &own, 0))
		syscall(SYS_futex, &shared->lending, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
}

static bool low(struct self *self, struct state *state, struct shared *shared)
{
	if (block_until(self, self->slot->looked_ns + self->slot->params[3]) != 0 || !take(self, shared))
		return false;
	tally(self, LOCKS, 1);
	call(&shared->go[HIGH - MIDDLE], ++state->round);
	spin(self, self->slot->params[1]);
	give(self, shared);
	return true;
}

static bool middle(struct self *self, struct state *state, struct shared *shared)
{
	uint64_t until;

	if (!await(self, &shared->go[0], state->round))
		return false;
	state->round++;
	until = now_ns() + self->slot->params[2];
	do
		spin(self, SPINS);
	while (measure_look(self->slot) < until && !stopped(self));
	tally(self, HOG_ROUNDS, 1);
	return true;
}

static bool high(struct self *self, struct state *state, struct shared *shared)
{
	uint64_t from, waited;

	if (!await(self, &shared->go[1], state->round))
		return false;
	call(&shared->go[0], ++state->round);
	from = now_ns();
	if (!take(self, shared))
		return false;
	waited = now_ns() - from;
	give(self, shared);
	tally(self, LOCKS, 1);
	tally(self, INVERSIONS, waited >= self->slot->params[2]);
	tally(self, LOCK_WAIT_NS, waited);
	return true;
}

static bool iterate(struct self *self)
{
	static bool (*const tiers[])(struct self *, struct state *, struct shared *) = { low, middle, high };

	return tiers[self->slot->place](self, self->state, self->slot->shared);
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	if (!cpumask_empty(&state->cpus)) {
		sched_setaffinity(0, sizeof(state->cpus), (const cpu_set_t *)&state->cpus);
		own_policy_set(&state->declared);
	}
	free(state);
}

const struct work_ops work_priority_inversion = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
