// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SCHEDSTAT_H
#define KTSTR_SCHEDSTAT_H

#include <stdbool.h>
#include <stdint.h>

/* Time on CPU and time runnable but waiting, in ns, and how often it was put on the CPU. */
struct schedstat {
	uint64_t run_ns;
	uint64_t run_delay_ns;
	uint64_t timeslices;
};

/* The three numbers of /proc/<pid>/schedstat. */
bool schedstat_parse_task(const char *text, struct schedstat *ret);
/*
 * A "cpuN" line of /proc/schedstat (versions 15 to 17 agree on it): fields 7, 8 and 9. False for
 * any other line.
 */
bool schedstat_parse_cpu(const char *line, uint32_t *cpu, struct schedstat *ret);

/* Of a task by its number; false when it is not there, or the kernel keeps none. */
bool schedstat_read(int32_t tid, struct schedstat *ret);
/* The calling thread's own, in so many system calls; false when the kernel keeps none. */
#define SCHEDSTAT_CALLS 4
bool schedstat_read_self(struct schedstat *ret);

struct schedstat_cpus;
/* All CPUs now. NULL when the kernel keeps none. Free with schedstat_cpus_free. */
struct schedstat_cpus *schedstat_cpus_read(void);
void schedstat_cpus_free(struct schedstat_cpus *cpus);
/* How far CPU cpu came since; false when it is missing on either side. */
bool schedstat_cpus_delta(const struct schedstat_cpus *before, const struct schedstat_cpus *after,
			  uint32_t cpu, struct schedstat *ret);

#endif
