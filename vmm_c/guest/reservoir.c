// SPDX-License-Identifier: GPL-2.0-only
#include "reservoir.h"

/* splitmix64 (Steele, Lea, Flood 2014): any seed, zero included, gives a full-period stream. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

void reservoir_init(struct reservoir *r, uint64_t *samples, uint32_t capacity, uint64_t seed)
{
	*r = (struct reservoir){ .random = seed, .capacity = capacity, .samples = samples };
}

void reservoir_add(struct reservoir *r, uint64_t sample)
{
	uint64_t slot;

	r->seen++;
	if (r->stored < r->capacity) {
		r->samples[r->stored++] = sample;
		return;
	}
	/* The bias of the modulus is below 2^-40 for any count a run can reach. */
	slot = next_random(&r->random) % r->seen;
	if (slot < r->capacity)
		r->samples[slot] = sample;
}
