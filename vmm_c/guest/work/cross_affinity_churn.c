// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: workers of the crew, spins between two changes. Each tells the others its tid and the CPUs that it had when
 * it began, so that they leave it within them.
 */
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "work/own.h"

enum counts_at { CHANGES, REWRITTEN };

struct member {
	_Alignas(128) struct ktstr_cpumask cpus;
	_Atomic int32_t tid; /* 0: it has not begun, or is over */
};

struct state {
	struct ktstr_cpumask last; /* its affinity, as it saw it last */
	uint64_t random;
};

static struct member *member(const struct self *self, uint32_t place)
{
	return (struct member *)self->slot->shared + place;
}

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	state->random = self->slot->report.index;
	return true;
}

static bool begin(struct self *self)
{
	struct member *own = member(self, self->slot->place);
	struct state *state = self->state;

	if (!own_cpus(0, &own->cpus))
		return false;
	state->last = own->cpus;
	atomic_store(&own->tid, gettid());
	return true;
}

static void look(struct self *self, struct state *state)
{
	struct ktstr_cpumask now;

	self->slot->report.measuring_calls++;
	if (!own_cpus(0, &now) || cpumask_equal(&now, &state->last))
		return;
	tally(self, REWRITTEN, 1);
	state->last = now;
}

/* Another of the crew; a number of a task is not given to a new one before all others were. */
static void rewrite(struct self *self, struct state *state)
{
	uint32_t at = (uint32_t)random_below(&state->random, self->slot->group - 1);
	struct member *other = member(self, at + (at >= self->slot->place));
	int32_t tid = atomic_load(&other->tid);
	uint32_t cpu;

	if (!tid)
		return;
	cpu = own_nth_cpu(&other->cpus, (uint32_t)random_below(&state->random, cpumask_count(&other->cpus)));
	if (own_pin(self, tid, cpu) == 0)
		tally(self, CHANGES, 1);
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;

	spin(self, self->slot->params[1]);
	if (stopped(self))
		return true;
	look(self, state);
	rewrite(self, state);
	sched_yield();
	return true;
}

static void finish(struct self *self)
{
	struct member *own = member(self, self->slot->place);

	atomic_store(&own->tid, 0);
	sched_setaffinity(0, sizeof(own->cpus), (const cpu_set_t *)&own->cpus);
	free(self->state);
}

const struct work_ops work_cross_affinity_churn = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
