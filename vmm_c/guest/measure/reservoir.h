// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_RESERVOIR_H
#define KTSTR_RESERVOIR_H

#include <stdint.h>

/* A uniform sample of a stream of unknown length (Vitter's Algorithm R). */
struct reservoir {
	uint64_t seen; /* every observation, kept or not */
	uint64_t random; /* generator state */
	uint32_t stored;
	uint32_t capacity;
	uint64_t *samples; /* room for capacity, owned by the caller */
};

/* seed makes the choice of samples repeatable; any value will do. */
void reservoir_init(struct reservoir *r, uint64_t *samples, uint32_t capacity, uint64_t seed);
void reservoir_add(struct reservoir *r, uint64_t sample);

#endif
