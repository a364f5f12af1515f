// SPDX-License-Identifier: GPL-2.0-only
#include "work/chains.h"

#define PIECE_STEPS 2048

void chains_init(struct chains *chains)
{
	*chains = (struct chains){ 0 };
	for (uint32_t i = 0; i < MAX_CHAINS; i++)
		chains->at[i] = 2 * i + 1;
}

/* Inlined with a width that is constant, so that the chains are in registers. */
static inline __attribute__((always_inline)) void run(struct chains *chains, const uint32_t width, uint64_t steps)
{
	uint64_t at[MAX_CHAINS];

	for (uint32_t i = 0; i < width; i++)
		at[i] = chains->at[i];
	for (uint64_t step = 0; step < steps; step++)
#pragma GCC unroll 8
		for (uint32_t i = 0; i < width; i++) {
			at[i] *= CHAIN_FACTOR;
			__asm__ volatile("" : "+r"(at[i]));
		}
	for (uint32_t i = 0; i < width; i++)
		chains->at[i] = at[i];
}

#define RUN(width) \
	case width: \
		run(chains, width, steps); \
		break

static void run_wide(struct chains *chains, uint32_t width, uint64_t steps)
{
	switch (width) {
	RUN(1);
	RUN(2);
	RUN(3);
	RUN(4);
	RUN(5);
	RUN(6);
	RUN(7);
	RUN(8);
	}
	chains->steps += steps;
}

void chains_run(struct self *self, struct chains *chains, uint32_t width, uint64_t steps)
{
	while (steps && !stopped(self)) {
		uint64_t piece = steps < PIECE_STEPS ? steps : PIECE_STEPS;

		run_wide(chains, width, piece);
		self->slot->units += piece;
		steps -= piece;
		if (steps)
			measure_look(self->slot);
	}
}

static uint64_t power(uint64_t base, uint64_t exponent)
{
	uint64_t result = 1;

	for (; exponent; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

uint64_t chains_multiplied(const struct chains *chains, uint32_t width)
{
	uint64_t factor = power(CHAIN_FACTOR, chains->steps), right = 0;

	for (uint32_t i = 0; i < width; i++)
		right += chains->at[i] == (2 * i + 1) * factor;
	return right * chains->steps;
}
