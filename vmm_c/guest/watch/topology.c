// SPDX-License-Identifier: GPL-2.0-only
/* The machine as the kernel shows it, which is what a scheduler sees of a declared topology. */
#include "watch/topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpulist.h"
#include "base/sysfile.h"
#include "wire/channel.h"
#include "wire/errors.h"

#define CPU_DIR "/sys/devices/system/cpu"
#define NODE_DIR "/sys/devices/system/node"
#define MAX_CACHES 8
#define PAGE_KIB 4

static bool read_list(const char *path, struct ktstr_cpumask *ret)
{
	char text[CPULIST_BYTES];

	return sysfile_read(path, text, sizeof(text)) >= 0 && cpulist_parse(text, ret) == 0;
}

struct ktstr_cpumask topology_online(void)
{
	struct ktstr_cpumask online = { 0 };

	if (!read_list(CPU_DIR "/online", &online))
		run_error("cannot read " CPU_DIR "/online, or it names CPUs above %u", KTSTR_MAX_CPUS - 1);
	return online;
}

/* The last-level cache: the one of the highest level, whatever its index. */
static void read_llc(uint32_t cpu, struct ktstr_cpumask *ret)
{
	int64_t highest = 0;
	char path[128];

	for (int i = 0; i < MAX_CACHES; i++) {
		int64_t level;

		snprintf(path, sizeof(path), CPU_DIR "/cpu%u/cache/index%d/level", cpu, i);
		level = sysfile_read_number(path);
		if (level < 0)
			break;
		if (level <= highest)
			continue;
		snprintf(path, sizeof(path), CPU_DIR "/cpu%u/cache/index%d/shared_cpu_list", cpu, i);
		if (read_list(path, ret))
			highest = level;
	}
}

static void send_cpu(uint32_t cpu, int32_t node)
{
	struct ktstr_msg_cpu msg = { .cpu = cpu, .node = node };
	char path[128];

	snprintf(path, sizeof(path), CPU_DIR "/cpu%u/topology/physical_package_id", cpu);
	msg.package = (int32_t)sysfile_read_number(path);
	snprintf(path, sizeof(path), CPU_DIR "/cpu%u/topology/thread_siblings_list", cpu);
	read_list(path, &msg.smt); /* empty when sysfs does not say */
	read_llc(cpu, &msg.llc);
	channel_send(KTSTR_MSG_CPU, &msg, sizeof(msg), NULL, 0);
}

static void send_lists(void)
{
	struct ktstr_msg_cpu_lists msg = { 0 };

	read_list(CPU_DIR "/possible", &msg.possible);
	read_list(CPU_DIR "/present", &msg.present);
	channel_send(KTSTR_MSG_CPU_LISTS, &msg, sizeof(msg), NULL, 0);
}

/* What is present is what firmware gave, whoever has taken it since. */
void topology_add_memory(const char *zoneinfo, uint64_t kib[KTSTR_MAX_NODES])
{
	static const char head[] = "Node ", present[] = "        present  ";
	unsigned long node = KTSTR_MAX_NODES;

	for (const char *line = zoneinfo; *line;) {
		const char *end = line + strcspn(line, "\n");

		if (strncmp(line, head, strlen(head)) == 0)
			node = strtoul(line + strlen(head), NULL, 10);
		else if (node < KTSTR_MAX_NODES && strncmp(line, present, strlen(present)) == 0)
			kib[node] += strtoull(line + strlen(present), NULL, 10) * PAGE_KIB;
		line = *end ? end + 1 : end;
	}
}

/* Documentation/admin-guide/mm/numaperf.rst: access class 0 is that of the best initiators of all kinds. */
static uint64_t initiators_of(uint32_t node, const struct ktstr_cpumask *nodes)
{
	uint64_t found = 0;

	for (uint32_t other = 0; other < KTSTR_MAX_NODES; other++) {
		char path[128];

		snprintf(path, sizeof(path), NODE_DIR "/node%u/access0/initiators/node%u", node, other);
		if (cpumask_test(nodes, other) && access(path, F_OK) == 0)
			found |= UINT64_C(1) << other;
	}
	return found;
}

static void send_nodes(const struct ktstr_cpumask *nodes)
{
	uint64_t kib[KTSTR_MAX_NODES] = { 0 };
	char *zoneinfo = sysfile_read_whole("/proc/zoneinfo");

	if (!zoneinfo)
		return;
	topology_add_memory(zoneinfo, kib);
	free(zoneinfo);
	for (uint32_t node = 0; node < KTSTR_MAX_NODES; node++) {
		struct ktstr_msg_node msg = { .node = node, .memory_kib = kib[node] };

		if (!cpumask_test(nodes, node))
			continue;
		msg.initiators = initiators_of(node, nodes);
		channel_send(KTSTR_MSG_NODE, &msg, sizeof(msg), NULL, 0);
	}
}

static void send_distances(uint32_t node)
{
	struct ktstr_msg_distances msg = { .node = node };
	char text[1024], path[128];
	char *p = text;

	snprintf(path, sizeof(path), NODE_DIR "/node%u/distance", node);
	if (sysfile_read(path, text, sizeof(text)) <= 0)
		return;
	while (msg.count < KTSTR_MAX_NODES) {
		char *end;
		unsigned long distance = strtoul(p, &end, 10);

		if (end == p)
			break;
		msg.distance[msg.count++] = (uint32_t)distance;
		p = end;
	}
	channel_send(KTSTR_MSG_DISTANCES, &msg, sizeof(msg), NULL, 0);
}

void topology_send(void)
{
	struct ktstr_cpumask online = topology_online(), nodes;
	int32_t node_of[KTSTR_MAX_CPUS] = { 0 };

	/* A kernel without NUMA has no node directory: one node, and no distances to speak of. */
	if (!read_list(NODE_DIR "/online", &nodes))
		memset(&nodes, 0, sizeof(nodes));
	for (uint32_t node = 0; node < KTSTR_MAX_NODES; node++) {
		struct ktstr_cpumask cpus;
		char path[128];

		if (!cpumask_test(&nodes, node))
			continue;
		snprintf(path, sizeof(path), NODE_DIR "/node%u/cpulist", node);
		if (read_list(path, &cpus))
			for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu++)
				if (cpumask_test(&cpus, cpu))
					node_of[cpu] = (int32_t)node;
	}
	send_lists();
	for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu++)
		if (cpumask_test(&online, cpu))
			send_cpu(cpu, node_of[cpu]);
	send_nodes(&nodes);
	for (uint32_t node = 0; node < KTSTR_MAX_NODES; node++)
		if (cpumask_test(&nodes, node))
			send_distances(node);
}
