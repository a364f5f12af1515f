// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_TOPOLOGY_H
#define KTSTR_TOPOLOGY_H

#include "ktstr_proto.h"

/* The CPUs that are online, as sysfs says. */
struct ktstr_cpumask topology_online(void);
/* Send the lists of CPUs, a Cpu message for each that is online, and a Node and a Distances message for each node. */
void topology_send(void);
/* Add up the memory of each node that /proc/zoneinfo lists. */
void topology_add_memory(const char *zoneinfo, uint64_t kib[KTSTR_MAX_NODES]);

#endif
