// SPDX-License-Identifier: GPL-2.0-only
#include "topology.h"

#include <errno.h>
#include <stdbool.h>

#define DISTANCE_LOCAL 10 /* ACPI 6.4, 5.2.17 */
#define DISTANCE_UNREACHABLE 255

/* Bits of an id that counts from 0 to count - 1. */
static uint32_t width(uint32_t count)
{
	return count > 1 ? 32 - (uint32_t)__builtin_clz(count - 1) : 0;
}

static int check_counts(const struct topology *t, struct vmm_error *err)
{
	uint64_t cpus = (uint64_t)t->llcs * t->cores;

	if (!t->nodes || !t->llcs || !t->cores || !t->threads || t->nodes > TOPOLOGY_MAX_NODES || t->llcs % t->nodes)
		return error_set(err, EINVAL, "topology %un%ul%uc%ut: expected counts of at least 1, at most %u nodes, and"
				 " LLCs a multiple of nodes", t->nodes, t->llcs, t->cores, t->threads, TOPOLOGY_MAX_NODES);
	if (cpus > TOPOLOGY_MAX_CPUS || cpus * t->threads > TOPOLOGY_MAX_CPUS)
		return error_set(err, EINVAL, "topology %un%ul%uc%ut: expected at most %u CPUs", t->nodes, t->llcs,
				 t->cores, t->threads, TOPOLOGY_MAX_CPUS);
	return 0;
}

static int check_distance(const struct topology *t, uint32_t from, uint32_t to, struct vmm_error *err)
{
	uint8_t distance = t->distance[from][to], back = t->distance[to][from];
	bool fits = from == to ? distance == DISTANCE_LOCAL : distance > DISTANCE_LOCAL && distance < DISTANCE_UNREACHABLE;

	if (fits && distance == back)
		return 0;
	return error_set(err, EINVAL, "distance from node %u to %u is %u and back %u; expected %u of a node to itself, else"
			 " 11 to 254 and the same both ways", from, to, distance, back, DISTANCE_LOCAL);
}

int topology_check(const struct topology *topology, struct vmm_error *err)
{
	int rc = check_counts(topology, err);

	for (uint32_t from = 0; !rc && from < topology->nodes; from++)
		for (uint32_t to = 0; !rc && to < topology->nodes; to++)
			rc = check_distance(topology, from, to, err);
	return rc;
}

uint32_t topology_cpus(const struct topology *topology)
{
	return topology->llcs * topology->cores * topology->threads;
}

uint32_t topology_node(const struct topology *topology, uint32_t cpu)
{
	return topology_llc(topology, cpu) / (topology->llcs / topology->nodes);
}

uint32_t topology_llc(const struct topology *topology, uint32_t cpu)
{
	return cpu / (topology->cores * topology->threads);
}

uint32_t topology_apic_id(const struct topology *topology, uint32_t cpu)
{
	uint32_t thread = cpu % topology->threads;
	uint32_t core = cpu / topology->threads % topology->cores;
	uint32_t llc = topology_llc(topology, cpu) % (topology->llcs / topology->nodes);

	return topology_node(topology, cpu) << topology_package_shift(topology) |
	       llc << topology_llc_shift(topology) | core << topology_core_shift(topology) | thread;
}

uint32_t topology_core_shift(const struct topology *topology)
{
	return width(topology->threads);
}

uint32_t topology_llc_shift(const struct topology *topology)
{
	return topology_core_shift(topology) + width(topology->cores);
}

uint32_t topology_package_shift(const struct topology *topology)
{
	return topology_llc_shift(topology) + width(topology->llcs / topology->nodes);
}
