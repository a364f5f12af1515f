// SPDX-License-Identifier: GPL-2.0-only
#include "work/own.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

bool own_cpus(int32_t tid, struct ktstr_cpumask *ret)
{
	*ret = (struct ktstr_cpumask){ 0 };
	return syscall(SYS_sched_getaffinity, tid, sizeof(*ret), ret) > 0;
}

long own_set_cpus(struct self *self, int32_t tid, const struct ktstr_cpumask *cpus)
{
	return block_call(self, SYS_sched_setaffinity, (long[6]){ tid, sizeof(*cpus), (long)cpus });
}

long own_pin(struct self *self, int32_t tid, uint32_t cpu)
{
	struct ktstr_cpumask one = { 0 };

	cpumask_set(&one, cpu);
	return own_set_cpus(self, tid, &one);
}

uint32_t own_nth_cpu(const struct ktstr_cpumask *cpus, uint32_t at)
{
	for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu++)
		if (cpumask_test(cpus, cpu) && !at--)
			return cpu;
	return KTSTR_MAX_CPUS;
}

bool own_policy_read(struct own_policy *ret)
{
	*ret = (struct own_policy){ 0 };
	return syscall(SYS_sched_getattr, 0, ret, sizeof(*ret), 0) == 0;
}

bool own_policy_set(const struct own_policy *policy)
{
	return syscall(SYS_sched_setattr, 0, policy, 0) == 0;
}

bool own_fifo(uint32_t priority)
{
	struct own_policy fifo = { .size = sizeof(fifo), .policy = SCHED_FIFO, .priority = priority };

	return own_policy_set(&fifo);
}
