// SPDX-License-Identifier: GPL-2.0-only
#include "thread_times.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* The second number: time spent waiting on a runqueue (Documentation/scheduler/sched-stats.rst). */
static int read_wait(pid_t tid, uint64_t *ret)
{
	char path[64];
	FILE *file;
	int found;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	found = fscanf(file, "%*u %" SCNu64, ret);
	fclose(file);
	return found == 1 ? 0 : -EIO;
}

/* The thread's clock, not schedstat's first number, which is as old as the last tick. */
int thread_times(pthread_t thread, pid_t tid, struct vmm_times *ret)
{
	struct timespec cpu;
	clockid_t clock;
	int rc = pthread_getcpuclockid(thread, &clock);

	*ret = (struct vmm_times){ 0 };
	if (rc)
		return -rc;
	if (clock_gettime(clock, &cpu))
		return -errno;
	ret->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000ULL + (uint64_t)cpu.tv_nsec;
	return read_wait(tid, &ret->wait_ns);
}
