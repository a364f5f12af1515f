// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which CPU is where. CPUs are numbered LLC by LLC, core by core, threads of one core adjacent;
 * LLCs are dealt to NUMA nodes in order; a package is a node. The APIC id has a bit field for
 * thread, core, LLC inside its package, and package, each just wide enough for the largest, so
 * ids have gaps where a count is no power of two, or LLCs differ. A vCPU's id in KVM is its APIC id.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define TOPOLOGY_MAX_CPUS 512
#define TOPOLOGY_MAX_NODES 64

struct topology {
	uint32_t nodes;
	uint32_t llcs; /* in all, a multiple of nodes unless uneven */
	uint32_t cores; /* per LLC, the largest where uneven */
	uint32_t threads; /* per core */
	uint8_t distance[TOPOLOGY_MAX_NODES][TOPOLOGY_MAX_NODES]; /* as in SLIT */
	uint32_t uneven; /* whether the rest says how many there are, else it is zero */
	uint16_t llc_cores[TOPOLOGY_MAX_CPUS];
	uint16_t node_llcs[TOPOLOGY_MAX_NODES]; /* none: a node of memory alone */
};

/* -EINVAL for counts or distances that are no machine. */
int topology_check(const struct topology *topology, struct vmm_error *err);
uint32_t topology_cpus(const struct topology *topology);
uint32_t topology_node(const struct topology *topology, uint32_t cpu);
/* How many CPUs share the LLC of this one. */
uint32_t topology_llc_cpus(const struct topology *topology, uint32_t cpu);
uint32_t topology_node_cpus(const struct topology *topology, uint32_t node);
/* The node with CPUs that is nearest to a node's memory, the first of several: itself where it has some. */
uint32_t topology_initiator(const struct topology *topology, uint32_t node);
uint32_t topology_apic_id(const struct topology *topology, uint32_t cpu);
/* How far an APIC id is shifted right to name the core, the LLC, the package. */
uint32_t topology_core_shift(const struct topology *topology);
uint32_t topology_llc_shift(const struct topology *topology);
uint32_t topology_package_shift(const struct topology *topology);
