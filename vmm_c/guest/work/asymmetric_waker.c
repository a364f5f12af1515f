// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: spins a turn. The first of a pair has the policy that its work says, the second one of the other kind: of
 * real time beside one that is not, normal beside one that is.
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work/pair.h"

enum counts_at { REALTIME = TURN_SLEPT + 1 };

static bool is_realtime(void)
{
	long policy = syscall(SYS_sched_getscheduler, 0);

	return policy == SCHED_FIFO || policy == SCHED_RR || policy == SCHED_DEADLINE;
}

static bool begin(struct self *self)
{
	bool normal = is_realtime();
	struct sched_param param = { .sched_priority = normal ? 0 : 1 };

	if (self->slot->place == 0)
		return true;
	return syscall(SYS_sched_setscheduler, 0, normal ? SCHED_OTHER : SCHED_FIFO, &param) == 0 ||
	       work_refuse(self->slot, REFUSED_POLICY);
}

static bool iterate(struct self *self)
{
	spin(self, self->slot->params[0]);
	return !stopped(self) && turn(self);
}

static void finish(struct self *self)
{
	tally(self, REALTIME, is_realtime());
}

const struct work_ops work_asymmetric_waker = { .begin = begin, .iterate = iterate, .finish = finish };
