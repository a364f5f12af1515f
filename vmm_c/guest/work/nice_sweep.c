// SPDX-License-Identifier: GPL-2.0-only
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work/work.h"

enum counts_at { CHANGES, LEVELS };

#define SPINS 512
#define LOWEST (-20)
#define LEVELS_THERE 40

struct state {
	uint64_t seen; /* nice values, from the lowest on */
	int declared;
	int next;
};

static bool prepare(struct self *self)
{
	return work_state(self, sizeof(struct state));
}

/* The system call gives 20 less the nice value, which is never negative. */
static int nice_now(void)
{
	return 20 - (int)syscall(SYS_getpriority, PRIO_PROCESS, 0);
}

static bool begin(struct self *self)
{
	struct state *state = self->state;

	state->declared = nice_now();
	return true;
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;
	int nice = LOWEST + state->next;

	spin(self, SPINS);
	if (setpriority(PRIO_PROCESS, 0, nice) == 0 && nice_now() == nice) {
		tally(self, CHANGES, 1);
		tally(self, LEVELS, !(state->seen >> state->next & 1));
		state->seen |= UINT64_C(1) << state->next;
	}
	self->slot->report.measuring_calls++;
	state->next = (state->next + 1) % LEVELS_THERE;
	sched_yield();
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	setpriority(PRIO_PROCESS, 0, state->declared);
	free(state);
}

const struct work_ops work_nice_sweep = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
