// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest physical memory: ranges, none of them in the PCI hole from 3 to 4 GiB. Every address that comes from
 * the guest goes through memory_at, which checks it once.
 *
 * It is private to this process, as only such memory gets large pages on a host that was not set up for it
 * (shmem's are off by default), which save most exits of a boot.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "topology.h"

#define MEMORY_HOLE_BEGIN 0xc0000000ULL
#define MEMORY_HOLE_END 0x100000000ULL
#define MEMORY_MAX_RANGES (TOPOLOGY_MAX_NODES + 1)
#define MEMORY_STEP (2ULL << 20) /* a node's share is a multiple of a large page */

/* One piece of RAM: a KVM memory slot, of one NUMA node. */
struct memory_range {
	uint64_t gpa;
	uint64_t bytes;
	uint32_t node;
	uint8_t *host;
};

struct memory {
	uint64_t bytes;
	uint32_t count;
	struct memory_range ranges[MEMORY_MAX_RANGES];
};

/* What to create: huge takes pages of 2 MiB from the host's pool, else they are asked for. */
struct memory_plan {
	uint64_t bytes;
	uint32_t nodes;
	const uint64_t *node_bytes; /* of each node, which may have none; NULL: all have the same */
	bool huge;
};

int memory_create(struct memory *memory, const struct memory_plan *plan, struct vmm_error *err);
/* Safe after a memory_create that failed. */
void memory_destroy(struct memory *memory);
/* Host address of len bytes at gpa, or NULL unless all of them are one piece of RAM. Accepts any input. */
void *memory_at(const struct memory *memory, uint64_t gpa, uint64_t len);
/* Copies whatever pieces the bytes lie in; -EFAULT and nothing copied unless all is RAM. */
int memory_read(const struct memory *memory, uint64_t gpa, void *ret, uint64_t len, struct vmm_error *err);
int memory_write(const struct memory *memory, uint64_t gpa, const void *data, uint64_t len, struct vmm_error *err);
/* Where the RAM that begins at 0 ends: at the hole at the latest. */
uint64_t memory_low_end(const struct memory *memory);
/* Keep a range on these host NUMA nodes (bit n is node n); before its first use. */
int memory_bind(const struct memory_range *range, uint64_t host_nodes, struct vmm_error *err);
/* Have the host find all pages of a range now. */
int memory_populate(const struct memory_range *range, struct vmm_error *err);
