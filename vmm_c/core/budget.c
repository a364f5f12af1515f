// SPDX-License-Identifier: GPL-2.0-only
#include "budget.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_CPUS (1 << 16) /* more than any kernel has bits for */

/* The kernel refuses a mask that is smaller than its own. */
static cpu_set_t *allowed_cpus(size_t *bytes)
{
	for (int cpus = CPU_SETSIZE; cpus <= MOST_CPUS; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC((size_t)cpus);

		*bytes = CPU_ALLOC_SIZE((size_t)cpus);
		if (set && sched_getaffinity(0, *bytes, set) == 0)
			return set;
		CPU_FREE(set);
		if (errno != EINVAL)
			break;
	}
	return NULL;
}

uint32_t budget_cpus(const int32_t *pin, uint32_t cpus)
{
	size_t bytes;
	cpu_set_t *set = allowed_cpus(&bytes);
	uint32_t pinned = 0, ret;

	if (!set)
		return (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	for (uint32_t i = 0; pin && i < cpus; i++)
		pinned += pin[i] >= 0;
	if (pinned == cpus)
		CPU_ZERO_S(bytes, set);
	for (uint32_t i = 0; pin && i < cpus; i++)
		if (pin[i] >= 0)
			CPU_SET_S((size_t)pin[i], bytes, set); /* no bit for a number it has not */
	ret = (uint32_t)CPU_COUNT_S(bytes, set);
	CPU_FREE(set);
	return ret;
}
