// SPDX-License-Identifier: GPL-2.0-only
#include "topology.h"

#include <errno.h>

#define DISTANCE_LOCAL 10 /* ACPI 6.4, 5.2.17 */
#define DISTANCE_UNREACHABLE 255

/* Where a CPU is; the LLC also as its node counts it. */
struct place {
	uint32_t node, llc, llc_of_node, core, thread;
};

/* Bits of an id that counts from 0 to count - 1. */
static uint32_t width(uint32_t count)
{
	return count > 1 ? 32 - (uint32_t)__builtin_clz(count - 1) : 0;
}

static uint32_t llc_cores(const struct topology *t, uint32_t llc)
{
	return t->uneven ? t->llc_cores[llc] : t->cores;
}

static uint32_t node_llcs(const struct topology *t, uint32_t node)
{
	return t->uneven ? t->node_llcs[node] : t->llcs / t->nodes;
}

static uint32_t most_llcs(const struct topology *t)
{
	uint32_t most = 0;

	for (uint32_t node = 0; node < t->nodes; node++)
		if (node_llcs(t, node) > most)
			most = node_llcs(t, node);
	return most;
}

static uint32_t all_cores(const struct topology *t)
{
	uint32_t cores = 0;

	for (uint32_t llc = 0; llc < t->llcs; llc++)
		cores += llc_cores(t, llc);
	return cores;
}

static int check_counts(const struct topology *t, struct vmm_error *err)
{
	bool is_listed = t->uneven && t->llcs <= TOPOLOGY_MAX_CPUS;
	uint64_t cores = is_listed ? all_cores(t) : (uint64_t)t->llcs * t->cores;

	if (!t->nodes || !t->llcs || !t->cores || !t->threads || t->nodes > TOPOLOGY_MAX_NODES ||
	    (!t->uneven && t->llcs % t->nodes))
		return error_set(err, EINVAL, "topology %un%ul%uc%ut: expected counts of at least 1, at most %u nodes, and"
				 " LLCs a multiple of nodes", t->nodes, t->llcs, t->cores, t->threads, TOPOLOGY_MAX_NODES);
	if (t->llcs > TOPOLOGY_MAX_CPUS || cores > TOPOLOGY_MAX_CPUS || cores * t->threads > TOPOLOGY_MAX_CPUS)
		return error_set(err, EINVAL, "topology %un%ul%uc%ut: expected at most %u CPUs", t->nodes, t->llcs,
				 t->cores, t->threads, TOPOLOGY_MAX_CPUS);
	return 0;
}

/* cores is the largest LLC's: the widths of APIC ids follow from it. */
static int check_parts(const struct topology *t, struct vmm_error *err)
{
	uint32_t llcs = 0, most = 0;

	for (uint32_t node = 0; node < t->nodes; node++)
		llcs += t->node_llcs[node];
	for (uint32_t llc = 0; llc < t->llcs; llc++) {
		if (!t->llc_cores[llc])
			return error_set(err, EINVAL, "topology: LLC %u has no cores, expected at least 1", llc);
		if (t->llc_cores[llc] > most)
			most = t->llc_cores[llc];
	}
	if (llcs == t->llcs && most == t->cores)
		return 0;
	return error_set(err, EINVAL, "topology %un%ul%uc%ut: its nodes have %u LLCs of at most %u cores", t->nodes, t->llcs,
			 t->cores, t->threads, llcs, most);
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

	if (!rc && topology->uneven)
		rc = check_parts(topology, err);
	for (uint32_t from = 0; !rc && from < topology->nodes; from++)
		for (uint32_t to = 0; !rc && to < topology->nodes; to++)
			rc = check_distance(topology, from, to, err);
	return rc;
}

uint32_t topology_cpus(const struct topology *topology)
{
	return all_cores(topology) * topology->threads;
}

/* A CPU behind the last one is in a node behind the last one. */
static struct place place_of(const struct topology *t, uint32_t cpu)
{
	uint32_t core = cpu / t->threads, llc = 0, node = 0, before = 0;

	while (llc < t->llcs && core >= llc_cores(t, llc))
		core -= llc_cores(t, llc++);
	while (node < t->nodes && llc >= before + node_llcs(t, node))
		before += node_llcs(t, node++);
	return (struct place){ node, llc, llc - before, core, cpu % t->threads };
}

uint32_t topology_node(const struct topology *topology, uint32_t cpu)
{
	return place_of(topology, cpu).node;
}

uint32_t topology_llc_cpus(const struct topology *topology, uint32_t cpu)
{
	return llc_cores(topology, place_of(topology, cpu).llc) * topology->threads;
}

uint32_t topology_node_cpus(const struct topology *topology, uint32_t node)
{
	uint32_t first = 0, cores = 0;

	for (uint32_t other = 0; other < node; other++)
		first += node_llcs(topology, other);
	for (uint32_t llc = first; llc < first + node_llcs(topology, node); llc++)
		cores += llc_cores(topology, llc);
	return cores * topology->threads;
}

uint32_t topology_initiator(const struct topology *topology, uint32_t node)
{
	uint32_t nearest = node;

	for (uint32_t other = 0; other < topology->nodes; other++) {
		bool is_nearer = topology->distance[node][other] < topology->distance[node][nearest];

		if (node_llcs(topology, other) && (is_nearer || !node_llcs(topology, nearest)))
			nearest = other;
	}
	return nearest;
}

uint32_t topology_apic_id(const struct topology *topology, uint32_t cpu)
{
	struct place place = place_of(topology, cpu);

	return place.node << topology_package_shift(topology) | place.llc_of_node << topology_llc_shift(topology) |
	       place.core << topology_core_shift(topology) | place.thread;
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
	return topology_llc_shift(topology) + width(most_llcs(topology));
}
