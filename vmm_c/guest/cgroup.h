// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CGROUP_H
#define KTSTR_CGROUP_H

#include <stdbool.h>

#include "ktstr_proto.h"

/* Make the scenario's own cgroup. cpu_controller: enable cpu beside cpuset. Reports its errors. */
void cgroup_setup(bool cpu_controller);
/* The next cgroup of the scenario. Reports its errors. */
void cgroup_add(const struct ktstr_op_add_cgroup *op);
/* A descriptor to fork into, for clone3; -1 for the agent's own cgroup (index -1). */
int cgroup_fd(int32_t index);
/* The CPUs its tasks may use, or NULL where none were declared. */
const struct ktstr_cpumask *cgroup_cpus(int32_t index);
/* Kill what is left in them and remove them all, deepest first. Reports its errors. */
void cgroup_remove_all(void);

#endif
