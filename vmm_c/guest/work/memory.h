// SPDX-License-Identifier: GPL-2.0-only
/* What a worker of a type that works in memory works in: its own, and what it did there to be read when it ends. */
#ifndef KTSTR_WORK_MEMORY_H
#define KTSTR_WORK_MEMORY_H

#include "work/work.h"

#define CACHE_LINE 64

/*
 * Zeros, all of them present, until the process ends; NULL when refused. Shared like the slots, so that the pages are
 * counted with those it works in (measure/pages.h).
 */
void *memory_make(struct self *self, size_t bytes);

/* Reads and writes a byte, goes on by the stride, and begins anew at the end. Each byte that was written is odd. */
struct walk {
	uint8_t *bytes;
	uint64_t size, stride, at;
};

/* Makes self->state a struct walk. Numbers: KiB, bytes. */
bool walk_prepare(struct self *self, uint64_t size_kib, uint64_t stride);
/* So many steps, a unit each, in pieces as spin has them. */
void walk(struct self *self, uint64_t steps);
/* Bytes of those cache lines in which it has written. */
uint64_t walk_footprint(const struct self *self);

#endif
