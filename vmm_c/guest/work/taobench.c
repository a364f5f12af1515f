// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: workers of a cache, shards, ns between two requests to a worker, how many keys of a hundred fit in, spins of
 * a hit, ns of a miss.
 *
 * A cache of shards, each of which holds so many keys, each key in the one place that its number says; what is asked
 * for and is not there takes the place of what is. Keys are asked for evenly. Of c keys that share a place each is
 * there when it is asked for with a chance of 1 / c, so of all requests as many hit as there are places for a key.
 * Requests come by the clock, whether those before are served or not: a worker that is late is late for all that wait.
 */
#include <stdlib.h>

#include "base/random.h"
#include "work/lock.h"

enum counts_at { HITS, MISSES, LOCK_WAITS };
enum params_at { SERVERS, SHARDS, INTERVAL, HIT_PERCENT, HIT_ITERS, MISS };

#define MAX_SHARDS 64
#define PLACES 256 /* of a shard */

struct shard {
	_Alignas(64) struct lock lock;
	uint32_t keys[PLACES]; /* each less that which is its place's at first */
};

_Static_assert(sizeof(struct shard) * MAX_SHARDS <= 69632, "the shared bytes of the table");

struct state {
	uint64_t random;
	uint64_t due_ns; /* when the next request comes; 0: it has not begun */
};

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	state->random = self->slot->report.index;
	return true;
}

/* Hit: it was there. It is now, when the back end has answered. False: stopped. */
static bool look_up(struct self *self, uint32_t key, bool *hit)
{
	const uint64_t *params = self->slot->params;
	uint32_t places = (uint32_t)params[SHARDS] * PLACES, place = key % places;
	struct shard *shard = (struct shard *)self->slot->shared + place % params[SHARDS];
	uint32_t *there = &shard->keys[place / params[SHARDS]];
	uint64_t waits = 0;

	if (!lock_take(self, &shard->lock, &waits))
		return false;
	tally(self, LOCK_WAITS, waits);
	*hit = *there == key - place;
	*there = key - place;
	if (*hit)
		spin(self, params[HIT_ITERS]);
	lock_give(&shard->lock);
	return *hit || !params[MISS] || block_until(self, measure_look(self->slot) + params[MISS]) == 0;
}

static bool iterate(struct self *self)
{
	const uint64_t *params = self->slot->params;
	struct state *state = self->state;
	uint64_t keys = params[SHARDS] * PLACES * 100 / params[HIT_PERCENT];
	bool hit = false;

	if (!state->due_ns)
		state->due_ns = self->slot->looked_ns;
	state->due_ns += 1 + random_below(&state->random, 2 * params[INTERVAL]);
	if (state->due_ns > self->slot->looked_ns && block_until(self, state->due_ns) != 0)
		return false;
	if (!look_up(self, (uint32_t)random_below(&state->random, keys), &hit))
		return false;
	requested(self, measure_look(self->slot) - state->due_ns);
	tally(self, hit ? HITS : MISSES, 1);
	return true;
}

static void finish(struct self *self)
{
	free(self->state);
}

const struct work_ops work_taobench = { .prepare = prepare, .iterate = iterate, .finish = finish };
