// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: how many are called, KiB of three matrices, products for each call, ns of sleep before them. Two matrices are
 * of ones, so every number of their product is their side.
 */
#include <sys/syscall.h>

#include "work/herd.h"
#include "work/memory.h"

/* Of a product, between two looks at the clock. */
#define PIECE_STEPS 4096

enum counts_at { OPERATIONS = HERD_SLEPT + 1, FOOTPRINT };

struct matrices {
	uint64_t side;
	_Alignas(CACHE_LINE) uint64_t numbers[]; /* of one, the other, their product */
};

/* The largest so that three of them have room. */
static uint64_t side_of(uint64_t kib)
{
	uint64_t numbers = (kib << 10) / sizeof(uint64_t) / 3, side = 0;

	while ((side + 1) * (side + 1) <= numbers)
		side++;
	return side;
}

static bool prepare(struct self *self)
{
	uint64_t side = side_of(self->slot->params[1]), cells = side * side;
	struct matrices *matrices;

	if (!self->slot->place)
		return true;
	matrices = memory_make(self, sizeof(*matrices) + 3 * cells * sizeof(uint64_t));
	if (!matrices)
		return false;
	matrices->side = side;
	for (uint64_t i = 0; i < 2 * cells; i++)
		matrices->numbers[i] = 1;
	self->state = matrices;
	return true;
}

static uint64_t product(const uint64_t *row, const uint64_t *column, uint64_t side)
{
	uint64_t sum = 0;

	for (uint64_t k = 0; k < side; k++)
		sum += row[k] * column[k * side];
	return sum;
}

/* False: it was stopped. */
static bool multiply(struct self *self)
{
	struct matrices *matrices = self->state;
	uint64_t side = matrices->side, *one = matrices->numbers, *other = one + side * side, steps = 0;

	for (uint64_t i = 0; i < side * side; i++) {
		other[side * side + i] = product(one + i / side * side, other + i % side, side);
		steps += side;
		if (steps < PIECE_STEPS)
			continue;
		steps = 0;
		measure_look(self->slot);
		if (stopped(self))
			return false;
	}
	self->slot->units++;
	tally(self, OPERATIONS, 1);
	return true;
}

static bool think(struct self *self, uint64_t ns)
{
	struct timespec until = timespec_of(self->slot->looked_ns + ns);
	const long args[6] = { CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&until, 0 };

	return !ns || block_call(self, SYS_clock_nanosleep, args) == 0;
}

static bool iterate(struct self *self)
{
	const uint64_t *params = self->slot->params;

	if (!self->slot->place) {
		if (!herd_await(self))
			return false;
		self->slot->units++;
		herd_call(self);
		return true;
	}
	if (!herd_called(self) || !think(self, params[3]))
		return false;
	for (uint64_t i = 0; i < params[2]; i++)
		if (!multiply(self))
			return false;
	herd_done(self);
	return true;
}

static void finish(struct self *self)
{
	const struct matrices *matrices = self->state;
	uint64_t cells = matrices ? matrices->side * matrices->side : 0, right = 0;

	for (uint64_t i = 0; i < cells; i++)
		right += matrices->numbers[2 * cells + i] == matrices->side;
	tally(self, FOOTPRINT, 3 * right * sizeof(uint64_t));
}

const struct work_ops work_fan_out_compute = { .prepare = prepare, .iterate = iterate, .finish = finish };
