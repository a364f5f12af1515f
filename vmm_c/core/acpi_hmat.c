// SPDX-License-Identifier: GPL-2.0-only
/* Sections are those of ACPI 6.4, as in acpi_layouts.h. */
#include "acpi_hmat.h"

/* At distance 10: 100 ns and 51,200 MB/s. */
#define LATENCY_UNIT_PS 1000
#define LATENCY(distance) (10U * (distance))
#define BANDWIDTH_UNIT_MBS 10
#define BANDWIDTH(distance) (51200U / (distance))

enum hmat_data { HMAT_LATENCY = 0, HMAT_BANDWIDTH = 3 }; /* of memory, by accesses of any kind */

struct domains {
	uint32_t count;
	uint32_t numbers[TOPOLOGY_MAX_NODES];
};

static void add(struct domains *domains, uint32_t node)
{
	domains->numbers[domains->count++] = node;
}

static bool has_memory(const struct memory *memory, uint32_t node)
{
	for (uint32_t i = 0; i < memory->count; i++)
		if (memory->ranges[i].node == node)
			return true;
	return false;
}

/* Who accesses a node's memory at its best: its own CPUs, or those of the nearest node that has any. */
static void put_node(struct acpi_writer *w, const struct topology *topology, uint32_t node)
{
	const struct acpi_hmat_memory_proximity_domain_attributes attributes = {
		.type = ACPI_HMAT_MEMORY_PROXIMITY_DOMAIN_ATTRIBUTES,
		.length = sizeof(attributes),
		.flags = 1, /* the initiator is valid */
		.proximity_domain_for_the_attached_initiator = topology_initiator(topology, node),
		.proximity_domain_for_the_memory = node,
	};

	acpi_put(w, &attributes, sizeof(attributes));
}

static void put_matrix(struct acpi_writer *w, const struct topology *topology, const struct domains *from,
		       const struct domains *to, enum hmat_data data)
{
	const struct acpi_hmat_latency_and_bandwidth matrix = {
		.type = ACPI_HMAT_LATENCY_AND_BANDWIDTH,
		.length = sizeof(matrix) + (from->count + to->count) * sizeof(uint32_t) +
			  from->count * to->count * sizeof(uint16_t),
		.data_type = data,
		.number_of_initiator_proximity_domains = from->count,
		.number_of_target_proximity_domains = to->count,
		.entry_base_unit = data == HMAT_LATENCY ? LATENCY_UNIT_PS : BANDWIDTH_UNIT_MBS,
	};

	acpi_put(w, &matrix, sizeof(matrix));
	acpi_put(w, from->numbers, from->count * sizeof(from->numbers[0]));
	acpi_put(w, to->numbers, to->count * sizeof(to->numbers[0]));
	for (uint32_t i = 0; i < from->count * to->count; i++) {
		uint32_t distance = topology->distance[from->numbers[i / to->count]][to->numbers[i % to->count]];
		uint16_t entry = data == HMAT_LATENCY ? LATENCY(distance) : BANDWIDTH(distance);

		acpi_put(w, &entry, sizeof(entry));
	}
}

/* 5.2.27. Linux knows revisions 1 and 2. */
uint64_t acpi_put_hmat(struct acpi_writer *w, const struct topology *topology, const struct memory *memory)
{
	const struct acpi_hmat hmat = { .header = acpi_header("HMAT", 2) };
	size_t table = acpi_begin(w, &hmat, sizeof(hmat));
	struct domains with_cpus = { 0 }, with_memory = { 0 };

	for (uint32_t node = 0; node < topology->nodes; node++) {
		if (topology_node_cpus(topology, node))
			add(&with_cpus, node);
		if (has_memory(memory, node))
			add(&with_memory, node);
	}
	for (uint32_t i = 0; i < with_memory.count; i++)
		put_node(w, topology, with_memory.numbers[i]);
	put_matrix(w, topology, &with_cpus, &with_memory, HMAT_LATENCY);
	put_matrix(w, topology, &with_cpus, &with_memory, HMAT_BANDWIDTH);
	return acpi_end(w, table);
}
