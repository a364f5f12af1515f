// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: steps of independent multiplications, loads of which each says where the next one is, how often both an
 * iteration. The loads go round all the lines of a memory that is larger than the caches of one core, in an order that
 * no prefetcher knows.
 */
#include "work/chains.h"
#include "work/memory.h"

#define WIDTH 4
#define LINES (1u << 14) /* 1 MiB */
/* Of a generator modulo a power of two that comes to every number before one again (Hull and Dobell 1962). */
#define FACTOR 5181u
#define MORE 12345u
#define PIECE_LOADS 2048

enum counts_at { HOT, COLD };

struct line {
	_Alignas(CACHE_LINE) volatile uint32_t next;
};

struct state {
	_Alignas(CACHE_LINE) struct chains chains;
	uint32_t at;
	uint64_t loads;
	struct line lines[LINES];
};

static uint32_t after(uint32_t line)
{
	return (line * FACTOR + MORE) % LINES;
}

static bool prepare(struct self *self)
{
	struct state *state = memory_make(self, sizeof(*state));

	if (!state)
		return false;
	chains_init(&state->chains);
	for (uint32_t i = 0; i < LINES; i++)
		state->lines[i].next = after(i);
	self->state = state;
	return true;
}

static void load(struct self *self, uint64_t loads)
{
	struct state *state = self->state;

	while (loads && !stopped(self)) {
		uint64_t piece = loads < PIECE_LOADS ? loads : PIECE_LOADS;

		for (uint64_t i = 0; i < piece; i++)
			state->at = state->lines[state->at].next;
		state->loads += piece;
		self->slot->units += piece;
		loads -= piece;
		measure_look(self->slot);
	}
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;
	const uint64_t *params = self->slot->params;

	for (uint64_t i = 0; i < params[2] && !stopped(self); i++) {
		chains_run(self, &state->chains, WIDTH, params[0]);
		measure_look(self->slot);
		load(self, params[1]);
	}
	return !stopped(self);
}

/* The loads count if they have led to where so many lead. */
static void finish(struct self *self)
{
	const struct state *state = self->state;
	uint32_t at = 0;

	for (uint64_t i = state->loads % LINES; i; i--)
		at = after(at);
	tally(self, HOT, chains_multiplied(&state->chains, WIDTH));
	tally(self, COLD, at == state->at ? state->loads : 0);
}

const struct work_ops work_ipc_variance = { .prepare = prepare, .iterate = iterate, .finish = finish };
