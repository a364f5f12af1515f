// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_TOPOLOGY_H
#define KTSTR_TOPOLOGY_H

#include "ktstr_proto.h"

/* The CPUs that are online, as sysfs says. */
struct ktstr_cpumask topology_online(void);
/* Send one Cpu message for each online CPU, and one Distances message for each node. */
void topology_send(void);

#endif
