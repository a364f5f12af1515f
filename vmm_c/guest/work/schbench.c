// SPDX-License-Identifier: GPL-2.0-only
/*
 * What schbench (Chris Mason) does, by its numbers: -t, -F, -n, -s, -R, -A, -p and -L. A message thread and its
 * workers: a worker posts itself and waits; the message thread wakes all that wait, and says when. A worker that was
 * woken serves a request: it sleeps, then multiplies matrices with the lock of its CPU held, which is dear to whoever
 * comes after it when it is preempted. At a rate, requests come from the message thread, and wait at their worker.
 */
#include <stdlib.h>
#include <string.h>

#include "work/lock.h"
#include "work/own.h"
#include "work/schbench_rate.h"

enum counts_at { REQUESTS, MESSAGES, LOCK_WAITS, RATE };

#define BLOCKED 0
#define RUNNING 1
/* Requests of a worker that wait; more are not posted. */
#define BATCH 128
/* Tries between two looks at the clock. */
#define TRIES 1024

struct state {
	uint64_t *matrices; /* three, of a worker */
	uint64_t side;
	struct schbench_rate rate; /* of a message thread */
	uint32_t next; /* worker */
};

static uint64_t root(uint64_t square)
{
	uint64_t side = 0;

	while ((side + 1) * (side + 1) <= square)
		side++;
	return side;
}

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	state->side = root(self->slot->params[FOOTPRINT] * 1024 / 3 / sizeof(uint64_t));
	if (self->slot->place == 0)
		return true;
	state->matrices = work_memory(self, 3 * sizeof(uint64_t) * state->side * state->side);
	return state->matrices;
}

static struct member *member(const struct self *self, uint32_t place)
{
	return ((struct shared *)self->slot->shared)->members + place - 1;
}

static void post(_Atomic uint32_t *word)
{
	if (atomic_exchange(word, RUNNING) == BLOCKED)
		wake(word, 1);
}

/* Samples how long after it was posted. False: stopped. */
static bool await(struct self *self, _Atomic uint32_t *word, const _Atomic uint64_t *sent_ns)
{
	uint32_t running = RUNNING;

	while (!atomic_compare_exchange_strong(word, &running, BLOCKED)) {
		if (block_while(self, word, BLOCKED, sent_ns) == BLOCK_STOPPED)
			return false;
		running = RUNNING;
	}
	return true;
}

static void answer(struct self *self, struct member *to, uint64_t now)
{
	uint64_t pipe = self->slot->params[PIPE];

	memset(to->page, 1, pipe);
	atomic_store(&to->sent_ns, pipe ? now_ns() : now);
	post(&to->word);
	tally(self, MESSAGES, 1);
}

/* The time is one for all that are woken, so that what the waker loses by waking the first is seen. */
static bool answer_all(struct self *self, struct shared *shared)
{
	uint64_t now = now_ns();

	atomic_store(&shared->word, BLOCKED);
	for (uint32_t place = 1; place < self->slot->group; place++)
		if (atomic_exchange(&member(self, place)->posted, 0))
			answer(self, member(self, place), now);
	return await(self, &shared->word, &shared->sent_ns);
}

/* Those that are due by now, to one worker after the other. */
static bool send_due(struct self *self, struct state *state)
{
	uint64_t now = measure_look(self->slot), due = schbench_due(&state->rate, self->slot->params, now);

	self->slot->report.counts[RATE] = state->rate.per_s;
	for (uint64_t i = 0; i < due; i++) {
		struct member *to = member(self, 1 + state->next++ % (self->slot->group - 1));

		if (atomic_load(&to->pending) > BATCH)
			continue;
		atomic_fetch_add(&to->pending, 1);
		answer(self, to, now_ns());
	}
	return block_until(self, measure_look(self->slot) + SCHBENCH_TICK_NS) == 0;
}

static void multiply(struct self *self, const struct state *state)
{
	uint64_t side = state->side, *a = state->matrices, *b = a + side * side, *c = b + side * side;

	for (uint64_t i = 0; i < side; i++) {
		for (uint64_t j = 0; j < side; j++) {
			uint64_t sum = 0;

			for (uint64_t k = 0; k < side; k++)
				sum += a[i * side + k] * b[k * side + j];
			c[i * side + j] = sum;
		}
		self->slot->units += side;
		measure_look(self->slot);
	}
}

/* A spinning lock; who has it may have been moved since. NULL: stopped. */
static _Atomic uint32_t *lock_this_cpu(struct self *self, struct shared *shared)
{
	for (uint64_t tries = 0; !stopped(self); tries++) {
		uint32_t cpu = (uint32_t)sched_getcpu() % KTSTR_MAX_CPUS;

		if (atomic_exchange_explicit(&shared->locks[cpu], 1, memory_order_acquire)) {
			tally(self, LOCK_WAITS, tries == 0);
			if (tries % TRIES == TRIES - 1)
				measure_look(self->slot);
			continue;
		}
		if ((uint32_t)sched_getcpu() == cpu)
			return &shared->locks[cpu];
		atomic_store_explicit(&shared->locks[cpu], 0, memory_order_release);
	}
	return NULL;
}

static bool serve(struct self *self, struct state *state, struct shared *shared)
{
	const uint64_t *params = self->slot->params;
	uint64_t from = measure_look(self->slot);
	_Atomic uint32_t *lock = NULL;

	if (params[THINK] && block_until(self, from + params[THINK]) != 0)
		return false;
	if (params[LOCKING] && !(lock = lock_this_cpu(self, shared)))
		return false;
	for (uint64_t i = 0; i < params[OPERATIONS] && !stopped(self); i++)
		multiply(self, state);
	if (lock)
		atomic_store_explicit(lock, 0, memory_order_release);
	if (stopped(self))
		return false;
	requested(self, measure_look(self->slot) - from);
	tally(self, REQUESTS, 1);
	return true;
}

/* Wait for a message. Gives how many requests came with it, -1 when stopped. */
static int64_t message(struct self *self, struct shared *shared)
{
	struct member *own = member(self, self->slot->place);
	bool at_a_rate = self->slot->params[RPS] || self->slot->params[AUTO_RPS];

	memset(own->page, 2, self->slot->params[PIPE]);
	atomic_store(&own->word, BLOCKED);
	if (at_a_rate) {
		uint32_t pending = atomic_exchange(&own->pending, 0);

		if (pending)
			return pending;
	} else {
		atomic_store(&own->posted, 1);
		atomic_store(&shared->sent_ns, now_ns());
		post(&shared->word);
	}
	if (!await(self, &own->word, &own->sent_ns))
		return -1;
	return at_a_rate ? 0 : 1;
}

static bool iterate(struct self *self)
{
	struct shared *shared = self->slot->shared;
	const uint64_t *params = self->slot->params;
	struct state *state = self->state;
	int64_t requests;

	if (self->slot->place == 0)
		return params[RPS] || params[AUTO_RPS] ? send_due(self, state) : answer_all(self, shared);
	for (requests = message(self, shared); requests > 0; requests--)
		if (!params[PIPE] && !serve(self, state, shared))
			return false;
	return requests == 0;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	free(state->matrices);
	free(state);
}

const struct work_ops work_schbench = { .prepare = prepare, .iterate = iterate, .finish = finish };
