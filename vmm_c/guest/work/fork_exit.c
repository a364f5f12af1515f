// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wakeup comes from within the kernel, when the child's exit is nearly over: no stamp of the
 * child's could say when. How long we were runnable and waited is what the kernel counts; it is the
 * wakeup's alone when we left the CPU once, and of our own will: not when we were preempted too. It
 * begins in the queue: to interrupt an idle CPU for it is not in it.
 */
#include <sys/resource.h>
#include <unistd.h>

#include "work/work.h"

enum counts_at { CHILDREN };

#define COUNTING_CALLS (2 * (1 + SCHEDSTAT_CALLS))

/* Around a wait. The usage is read outside of the other, so that no preemption between them is missed. */
struct counts {
	struct rusage usage;
	struct schedstat stat;
};

static bool count_before(struct counts *ret)
{
	return getrusage(RUSAGE_THREAD, &ret->usage) == 0 && schedstat_read_self(&ret->stat);
}

static void sample(struct self *self, const struct counts *before)
{
	struct counts after;

	self->slot->report.measuring_calls += COUNTING_CALLS;
	if (!schedstat_read_self(&after.stat) || getrusage(RUSAGE_THREAD, &after.usage) < 0)
		return;
	if (after.usage.ru_nvcsw - before->usage.ru_nvcsw == 1 && after.usage.ru_nivcsw == before->usage.ru_nivcsw)
		measure_wake(&self->measure, after.stat.run_delay_ns - before->stat.run_delay_ns);
}

static bool iterate(struct self *self)
{
	struct counts before;
	pid_t child = fork();
	bool counted;

	if (child == 0)
		_exit(0);
	self->slot->units++;
	if (child < 0)
		return true; /* no room for another task: only counts */
	counted = count_before(&before);
	if (block_wait(self, child) != child)
		return false;
	tally(self, CHILDREN, 1);
	if (counted)
		sample(self, &before);
	return true;
}

const struct work_ops work_fork_exit = { .iterate = iterate };
