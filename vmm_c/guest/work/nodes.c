// SPDX-License-Identifier: GPL-2.0-only
#include "work/nodes.h"

#include <linux/mempolicy.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sysfile.h"

/* The kernel takes one less than the number of bits that it is told (get_nodes of mm/mempolicy.c). */
#define NODE_BITS (KTSTR_MAX_NODES + 1)
/* Pages to move, or to touch, between two looks at the clock. */
#define PIECE_PAGES 32

bool region_make(struct region *ret, uint64_t kib)
{
	ret->page = (size_t)sysconf(_SC_PAGESIZE);
	ret->bytes = (kib * 1024 + ret->page - 1) / ret->page * ret->page;
	ret->at = mmap(NULL, ret->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ret->at == MAP_FAILED)
		return false;
	madvise(ret->at, ret->bytes, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < ret->bytes; at += ret->page)
		((volatile char *)ret->at)[at] = 1;
	return true;
}

void region_free(struct region *region)
{
	munmap(region->at, region->bytes);
}

void region_walk(struct self *self, const struct region *region)
{
	for (size_t at = 0, page = 0; at < region->bytes && !stopped(self); at += region->page) {
		for (size_t i = at; i < at + region->page; i += 64)
			((volatile char *)region->at)[i]++;
		self->slot->units++;
		if (++page % PIECE_PAGES == 0)
			measure_look(self->slot);
	}
}

/* Where the kernel says that these pages are. */
static uint64_t pages_on(const struct region *region, size_t from, size_t bytes, uint32_t node)
{
	void *pages[PIECE_PAGES];
	int nodes[PIECE_PAGES];
	uint64_t found = 0;
	size_t count = 0;

	for (size_t at = from; at < from + bytes; at += region->page)
		pages[count++] = region->at + at;
	if (syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0) < 0)
		return 0;
	for (size_t i = 0; i < count; i++)
		found += nodes[i] == (int)node;
	return found;
}

uint64_t region_bind(struct self *self, const struct region *region, uint32_t node)
{
	unsigned long nodes = 1UL << node;
	size_t piece = PIECE_PAGES * region->page;
	uint64_t found = 0;

	for (size_t at = 0; at < region->bytes && !stopped(self); at += piece) {
		size_t bytes = region->bytes - at < piece ? region->bytes - at : piece;

		block_call(self, SYS_mbind,
			   (long[6]){ (long)(region->at + at), (long)bytes, MPOL_BIND, (long)&nodes, NODE_BITS, MPOL_MF_MOVE });
		found += pages_on(region, at, bytes, node);
		self->slot->report.measuring_calls++;
	}
	return found;
}

uint64_t nodes_allowed(void)
{
	unsigned long nodes = 0;

	if (syscall(SYS_get_mempolicy, NULL, &nodes, NODE_BITS, NULL, MPOL_F_MEMS_ALLOWED) < 0)
		return 0;
	return nodes;
}

struct ktstr_cpumask node_cpus(uint32_t node, const struct ktstr_cpumask *cpus)
{
	struct ktstr_cpumask found = { 0 };
	char path[64], list[CPULIST_BYTES];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
	if (sysfile_read(path, list, sizeof(list)) > 0)
		cpulist_parse(list, &found);
	for (size_t i = 0; i < KTSTR_CPUMASK_WORDS; i++)
		found.bits[i] &= cpus->bits[i];
	return found;
}

uint32_t node_after(uint64_t nodes, uint32_t node)
{
	uint64_t above = node + 1 < KTSTR_MAX_NODES ? nodes >> (node + 1) << (node + 1) : 0;

	return (uint32_t)__builtin_ctzll(above ? above : nodes);
}
