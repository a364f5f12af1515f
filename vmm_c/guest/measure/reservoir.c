// SPDX-License-Identifier: GPL-2.0-only
#include "measure/reservoir.h"

#include "base/random.h"

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
	slot = random_next(&r->random) % r->seen;
	if (slot < r->capacity)
		r->samples[slot] = sample;
}
