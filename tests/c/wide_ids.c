// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linked into vmm_run with --wrap=topology_apic_id: the second CPU of a machine of two packages gets APIC id
 * 300, which no topology of so few CPUs has by itself. Whatever has ids of 8 bits somewhere shows itself.
 */
#include "topology.h"

uint32_t __wrap_topology_apic_id(const struct topology *topology, uint32_t cpu);

uint32_t __wrap_topology_apic_id(const struct topology *topology, uint32_t cpu)
{
	(void)topology;
	return cpu ? 300 : 0;
}
