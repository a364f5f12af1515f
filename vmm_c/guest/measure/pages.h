// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PAGES_H
#define KTSTR_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/program.h"

/*
 * Add up the pages that a text such as /proc/<pid>/numa_maps tells, by node: those of shared memory, which is what
 * workers work in. What else a process has, it has of the agent that it was forked from.
 */
void pages_add(const char *numa_maps, uint64_t by_node[KTSTR_MAX_NODES]);
/* Those of the calling process. Gives up to which node there are any, plus 1; 0 where the kernel does not tell. */
uint32_t pages_of_self(uint64_t by_node[KTSTR_MAX_NODES]);
/* How many the machine has moved between nodes so far, in /proc/vmstat; false where the kernel does not count. */
bool pages_migrated(uint64_t *ret);

#endif
