// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_NODES_H
#define KTSTR_NODES_H

#include <stddef.h>

#include "work/own.h"

/* NUMA nodes, and memory that is to be on one. */
struct region {
	char *at;
	size_t bytes, page;
};

/* So many KiB, in whole pages, each present. Without huge pages. False with errno. */
bool region_make(struct region *ret, uint64_t kib);
void region_free(struct region *region);
/* Read and write each page once. */
void region_walk(struct self *self, const struct region *region);
/* Bind all of it to a node, and move it there. Gives how many of its pages the kernel then says are there. */
uint64_t region_bind(struct self *self, const struct region *region, uint32_t node);

/* The nodes that the caller may have memory on; those of a kernel without NUMA: 0. */
uint64_t nodes_allowed(void);
/* The CPUs of a node, as far as they are of cpus. */
struct ktstr_cpumask node_cpus(uint32_t node, const struct ktstr_cpumask *cpus);
/* The lowest of these nodes above one, else the lowest. */
uint32_t node_after(uint64_t nodes, uint32_t node);

#endif
