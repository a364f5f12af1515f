// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_ARENA_H
#define KTSTR_ARENA_H

#include <stdbool.h>

#include "measure/slot.h"

/*
 * The memory of all workers: one mapping, shared with them, so that what it costs to fork one does
 * not depend on how many there are. False, with errno, when there is none.
 */
bool arena_make(const struct program *program);
/* A worker's slot as it is before it is spawned, for the spawn-th time; the numbers are kept in its report. */
struct slot *arena_slot(const struct program *program, uint32_t work, uint32_t worker, uint32_t spawn);
/* Make a group's memory zeros again, before its first worker is forked. */
void arena_clear_group(uint32_t first_worker);

#endif
