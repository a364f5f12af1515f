// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_OWN_H
#define KTSTR_OWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cpulist.h"
#include "work/work.h"

/*
 * What bodies change of themselves, and put back. The agent gives a worker its policy and its CPUs after prepare, so
 * a body keeps them at its first iteration.
 */

/* The CPUs that a task may use; tid 0: the caller. */
bool own_cpus(int32_t tid, struct ktstr_cpumask *ret);
/* Set them. The caller may have to wait until it is on one of them. Gives 0, -errno or BLOCK_STOPPED. */
long own_set_cpus(struct self *self, int32_t tid, const struct ktstr_cpumask *cpus);
/* The same, of one CPU. */
long own_pin(struct self *self, int32_t tid, uint32_t cpu);
/* The at-th CPU of a mask that has more, or KTSTR_MAX_CPUS. */
uint32_t own_nth_cpu(const struct ktstr_cpumask *cpus, uint32_t at);

/* struct sched_attr in its first version (include/uapi/linux/sched/types.h); libc has none. */
struct own_policy {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

/* False where the kernel refuses. */
bool own_policy_read(struct own_policy *ret);
bool own_policy_set(const struct own_policy *policy);
/* Become one of policy fifo. */
bool own_fifo(uint32_t priority);

#endif
