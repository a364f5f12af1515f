// SPDX-License-Identifier: GPL-2.0-only
#include <sys/mman.h>

#include "work/memory.h"

#define PIECE_STEPS 1024

void *memory_make(struct self *self, size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory != MAP_FAILED)
		return memory;
	work_refuse(self->slot, REFUSED_MEMORY);
	return NULL;
}

bool walk_prepare(struct self *self, uint64_t size_kib, uint64_t stride)
{
	uint64_t size = size_kib << 10;
	struct walk *walk = memory_make(self, CACHE_LINE + size);

	if (!walk)
		return false;
	*walk = (struct walk){ (uint8_t *)walk + CACHE_LINE, size, stride % size, 0 };
	self->state = walk;
	return true;
}

static void walk_piece(struct slot *slot, struct walk *walk, uint64_t steps)
{
	for (uint64_t i = 0; i < steps; i++) {
		volatile uint8_t *byte = walk->bytes + walk->at;

		*byte = (uint8_t)(*byte + 2) | 1;
		walk->at += walk->stride;
		if (walk->at >= walk->size)
			walk->at -= walk->size;
	}
	slot->units += steps;
}

void walk(struct self *self, uint64_t steps)
{
	while (steps && !stopped(self)) {
		uint64_t piece = steps < PIECE_STEPS ? steps : PIECE_STEPS;

		walk_piece(self->slot, self->state, piece);
		steps -= piece;
		if (steps)
			measure_look(self->slot);
	}
}

static bool is_touched(const uint8_t *line)
{
	for (int i = 0; i < CACHE_LINE; i++)
		if (line[i])
			return true;
	return false;
}

uint64_t walk_footprint(const struct self *self)
{
	const struct walk *walk = self->state;
	uint64_t lines = 0;

	for (uint64_t at = 0; at < walk->size; at += CACHE_LINE)
		lines += is_touched(walk->bytes + at);
	return lines * CACHE_LINE;
}
