// SPDX-License-Identifier: GPL-2.0-only
/* params: up to 8 pairs of a kind of phase, 0 after the last, and for how many ns. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "work/work.h"

enum kind { NONE, SPIN, SLEEP, YIELD, IO, ALU_HOT };
/* The first of them are the times in phases of each kind. */
enum counts_at { TIMES, YIELDS = ALU_HOT, WRITTEN, CHAINS };

#define PHASES 8
#define SPINS 1024
#define BLOCKS 16
#define BLOCK_BYTES 4096
#define IO_PAUSE_NS 100000

struct state {
	int file; /* in memory, without a name */
	char block[BLOCK_BYTES];
	uint64_t chains[4]; /* of multiplications, which do not wait for each other */
};

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	if ((state->file = memfd_create("sequence", MFD_CLOEXEC)) < 0)
		return work_refuse(self->slot, REFUSED_MEMORY);
	for (uint32_t i = 0; i < 4; i++)
		state->chains[i] = 3 + 2 * i;
	return true;
}

/* Write the file anew, then wait for a while, as for a disk. */
static bool write_file(struct self *self, struct state *state)
{
	if (ftruncate(state->file, 0) < 0)
		return false;
	for (uint32_t i = 0; i < BLOCKS; i++) {
		ssize_t wrote = pwrite(state->file, state->block, BLOCK_BYTES, (off_t)i * BLOCK_BYTES);

		tally(self, WRITTEN, wrote > 0 ? (uint64_t)wrote : 0);
		self->slot->units++;
	}
	return block_until(self, measure_look(self->slot) + IO_PAUSE_NS) == 0;
}

static void multiply(struct self *self, struct state *state)
{
	uint64_t a = state->chains[0], b = state->chains[1], c = state->chains[2], d = state->chains[3];

	for (uint32_t i = 0; i < SPINS; i++) {
		a *= 0x9E3779B97F4A7C15;
		b *= 0xBF58476D1CE4E5B9;
		c *= 0x94D049BB133111EB;
		d *= 0xD6E8FEB86659FD93;
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
	}
	memcpy(state->chains, (uint64_t[4]){ a, b, c, d }, sizeof(state->chains));
	self->slot->units += SPINS;
	tally(self, CHAINS, 4);
}

/* One piece of what a phase does. False: stopped. */
static bool piece(struct self *self, enum kind kind, uint64_t until)
{
	switch (kind) {
	case SPIN:
		spin(self, SPINS);
		return true;
	case SLEEP:
		return block_until(self, until) == 0;
	case YIELD:
		self->slot->units++;
		tally(self, YIELDS, 1);
		sched_yield();
		return true;
	case IO:
		return write_file(self, self->state);
	default:
		multiply(self, self->state);
		return true;
	}
}

static bool iterate(struct self *self)
{
	struct slot *slot = self->slot;

	for (uint32_t i = 0; i < PHASES && slot->params[2 * i] != NONE; i++) {
		enum kind kind = (enum kind)slot->params[2 * i];
		uint64_t from = slot->looked_ns, until = from + slot->params[2 * i + 1];

		do
			if (!piece(self, kind, until))
				return false;
		while (measure_look(slot) < until && !stopped(self));
		if (stopped(self))
			return true;
		tally(self, TIMES + kind - SPIN, slot->looked_ns - from);
	}
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	close(state->file);
	free(state);
}

const struct work_ops work_sequence = { .prepare = prepare, .iterate = iterate, .finish = finish };
