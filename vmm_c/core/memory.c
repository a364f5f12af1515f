// SPDX-License-Identifier: GPL-2.0-only
#include "memory.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void add_range(struct memory *memory, uint64_t gpa, uint64_t bytes, uint32_t node)
{
	memory->ranges[memory->count++] = (struct memory_range){ .gpa = gpa, .bytes = bytes, .node = node };
}

static uint64_t share_of(const struct memory_plan *plan, uint32_t node)
{
	return plan->node_bytes ? plan->node_bytes[node] : plan->bytes / plan->nodes;
}

/* Nodes follow each other in address; the one that reaches the hole goes on behind it. */
static void deal(struct memory *memory, const struct memory_plan *plan)
{
	uint64_t gpa = 0;

	for (uint32_t node = 0; node < plan->nodes; node++) {
		uint64_t share = share_of(plan, node);
		uint64_t below = gpa < MEMORY_HOLE_BEGIN ? min_u64(share, MEMORY_HOLE_BEGIN - gpa) : 0;

		if (below)
			add_range(memory, gpa, below, node);
		gpa += below;
		if (gpa == MEMORY_HOLE_BEGIN)
			gpa = MEMORY_HOLE_END;
		if (below < share)
			add_range(memory, gpa, share - below, node);
		gpa += share - below;
	}
}

/* Room that begins at a large page: where host and guest addresses differ in that, KVM maps small ones only. */
static uint8_t *reserve(uint64_t bytes)
{
	uint8_t *host = mmap(NULL, bytes + MEMORY_STEP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before = -(uintptr_t)host % MEMORY_STEP;

	if (host == MAP_FAILED)
		return NULL;
	if (before)
		munmap(host, before);
	munmap(host + before + bytes, MEMORY_STEP - before);
	return host + before;
}

/* One mapping, so that ranges without a gap between them have none on the host either. A child gets none of it. */
static int map_ranges(struct memory *memory, int flags, struct vmm_error *err)
{
	uint8_t *room = reserve(memory->bytes);
	uint8_t *host = mmap(room, memory->bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | flags | (room ? MAP_FIXED : 0), -1, 0);

	if (host == MAP_FAILED) {
		error_set(err, errno, "mmap of %llu MiB of guest memory%s: %s",
			  (unsigned long long)(memory->bytes >> 20), flags & MAP_HUGETLB ? " in 2 MiB pages" : "",
			  strerror(errno));
		if (room)
			munmap(room, memory->bytes);
		return -err->code;
	}
	madvise(host, memory->bytes, MADV_DONTFORK);
	madvise(host, memory->bytes, MADV_HUGEPAGE); /* refused where the kernel has none */
	for (uint32_t i = 0; i < memory->count; i++) {
		memory->ranges[i].host = host;
		host += memory->ranges[i].bytes;
	}
	return 0;
}

/* Whether all of it is dealt in whole steps. */
static bool is_dealt(const struct memory_plan *plan)
{
	uint64_t left = plan->bytes;

	for (uint32_t node = 0; node < plan->nodes; node++) {
		uint64_t share = share_of(plan, node);

		if (share % MEMORY_STEP || share > left)
			return false;
		left -= share;
	}
	return left == 0;
}

static int begin(struct memory *memory, const struct memory_plan *plan, struct vmm_error *err)
{
	*memory = (struct memory){ .bytes = plan->bytes };
	if (plan->nodes == 0 || plan->nodes > TOPOLOGY_MAX_NODES || plan->bytes == 0 || !is_dealt(plan))
		return error_set(err, EINVAL,
				 "guest memory of %llu bytes for %u NUMA nodes: expected a multiple of 2 MiB for each",
				 (unsigned long long)plan->bytes, plan->nodes);
	if (plan->bytes > 1ULL << 46)
		return error_set(err, EINVAL, "guest memory of %llu bytes: expected at most 64 TiB",
				 (unsigned long long)plan->bytes);
	return 0;
}

int memory_create(struct memory *memory, const struct memory_plan *plan, struct vmm_error *err)
{
	int rc = begin(memory, plan, err);

	if (rc)
		return rc;
	deal(memory, plan);
	/* A pool that is too small is known now, not by SIGBUS. */
	return map_ranges(memory, plan->huge ? MAP_HUGETLB | 21 << MAP_HUGE_SHIFT : MAP_NORESERVE, err);
}

void memory_destroy(struct memory *memory)
{
	if (memory->count && memory->ranges[0].host)
		munmap(memory->ranges[0].host, memory->bytes);
	memory->count = 0;
}

static bool adjacent(const struct memory_range *a, const struct memory_range *b)
{
	return a->gpa + a->bytes == b->gpa && a->host + a->bytes == b->host;
}

/* How many of len bytes from gpa are one piece of RAM, which *host gets; 0 when gpa is no RAM. */
static uint64_t piece_at(const struct memory *memory, uint64_t gpa, uint64_t len, uint8_t **host)
{
	for (uint32_t i = 0; i < memory->count; i++) {
		const struct memory_range *range = &memory->ranges[i];
		uint64_t offset = gpa - range->gpa;
		uint64_t room = range->bytes - offset;

		if (gpa < range->gpa || offset >= range->bytes)
			continue;
		*host = range->host + offset;
		for (; room < len && i + 1 < memory->count && adjacent(&range[0], &range[1]); i++, range++)
			room += range[1].bytes;
		return min_u64(room, len);
	}
	return 0;
}

void *memory_at(const struct memory *memory, uint64_t gpa, uint64_t len)
{
	uint8_t *host = NULL;

	return piece_at(memory, gpa, len ? len : 1, &host) >= len ? host : NULL;
}

static bool all_ram(const struct memory *memory, uint64_t gpa, uint64_t len)
{
	while (len) {
		uint8_t *host;
		uint64_t part = piece_at(memory, gpa, len, &host);

		if (!part)
			return false;
		gpa += part;
		len -= part;
	}
	return true;
}

static int check_ram(const struct memory *memory, uint64_t gpa, uint64_t len, struct vmm_error *err)
{
	if (all_ram(memory, gpa, len))
		return 0;
	return error_set(err, EFAULT, "guest memory: %llu bytes at %#llx are not all RAM", (unsigned long long)len,
			 (unsigned long long)gpa);
}

/* The data is only written to unless to_guest. */
static int copy(const struct memory *memory, uint64_t gpa, uint8_t *data, uint64_t len, bool to_guest, struct vmm_error *err)
{
	int rc = check_ram(memory, gpa, len, err);

	for (uint64_t done = 0, part; rc == 0 && done < len; done += part) {
		uint8_t *host = NULL;

		part = piece_at(memory, gpa + done, len - done, &host);
		memcpy(to_guest ? host : data + done, to_guest ? data + done : host, part);
	}
	return rc;
}

int memory_read(const struct memory *memory, uint64_t gpa, void *ret, uint64_t len, struct vmm_error *err)
{
	return copy(memory, gpa, ret, len, false, err);
}

int memory_write(const struct memory *memory, uint64_t gpa, const void *data, uint64_t len, struct vmm_error *err)
{
	return copy(memory, gpa, (uint8_t *)(uintptr_t)data, len, true, err);
}

uint64_t memory_low_end(const struct memory *memory)
{
	return min_u64(memory->bytes, MEMORY_HOLE_BEGIN);
}

int memory_bind(const struct memory_range *range, uint64_t host_nodes, struct vmm_error *err)
{
	unsigned long mask[2] = { host_nodes, 0 }; /* the kernel reads one bit less than it is told */

	if (syscall(SYS_mbind, range->host, range->bytes, MPOL_BIND, mask, sizeof(host_nodes) * 8 + 1, 0) == 0)
		return 0;
	return error_set(err, errno, "mbind of guest node %u to host nodes %#llx: %s", range->node,
			 (unsigned long long)host_nodes, strerror(errno));
}

int memory_populate(const struct memory_range *range, struct vmm_error *err)
{
	if (madvise(range->host, range->bytes, MADV_POPULATE_WRITE) == 0)
		return 0;
	return error_set(err, errno, "populating %llu MiB of guest memory: %s", (unsigned long long)(range->bytes >> 20),
			 strerror(errno));
}
