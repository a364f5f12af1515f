// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: spins between two changes. It stays within the CPUs that it had when it began, as far as the kernel still
 * lets it: when that refuses one of them, it looks anew at what it has.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/random.h"
#include "work/own.h"

enum counts_at { CHANGES, ARRIVALS, MOVES };

struct state {
	struct ktstr_cpumask cpus;
	uint64_t random;
};

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	state->random = self->slot->report.index;
	return true;
}

/* Its cpuset may have other CPUs now: the kernel narrows what it is asked for. */
static bool look_anew(struct self *self, struct state *state)
{
	struct ktstr_cpumask all;

	for (size_t i = 0; i < KTSTR_CPUMASK_WORDS; i++)
		all.bits[i] = UINT64_MAX;
	if (own_set_cpus(self, 0, &state->cpus) == 0 || own_set_cpus(self, 0, &all) == 0)
		return own_cpus(0, &state->cpus);
	return false;
}

static bool begin(struct self *self)
{
	struct state *state = self->state;

	return own_cpus(0, &state->cpus);
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;
	uint32_t cpu, before;
	long set;

	spin(self, self->slot->params[0]);
	if (stopped(self))
		return true;
	before = (uint32_t)sched_getcpu();
	cpu = own_nth_cpu(&state->cpus, (uint32_t)random_below(&state->random, cpumask_count(&state->cpus)));
	set = own_pin(self, 0, cpu);
	if (set == 0) {
		tally(self, CHANGES, 1);
		tally(self, ARRIVALS, (uint32_t)sched_getcpu() == cpu);
		tally(self, MOVES, cpu != before);
	} else if (set == -EINVAL) {
		look_anew(self, state);
	}
	sched_yield();
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	if (!cpumask_empty(&state->cpus))
		sched_setaffinity(0, sizeof(state->cpus), (const cpu_set_t *)&state->cpus);
	free(state);
}

const struct work_ops work_affinity_churn = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
