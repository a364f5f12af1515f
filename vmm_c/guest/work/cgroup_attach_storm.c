// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: children at a time. A child sleeps about as long as it takes until it is moved, so that moves meet children
 * that live, exit, and are gone; the kernel passes over those that exit already.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "work/cgroups.h"

enum counts_at { EXITS, ATTACHED, JOINED, SIBLING_NS };

#define MAX_CHILDREN 64
#define NAME_BYTES 32
#define FIRST_GUESS_NS 10000000

struct state {
	char own[CGROUPS_PATH_BYTES], name[NAME_BYTES];
	int threads; /* of the sibling */
	uint64_t random;
	uint64_t delay_ns; /* from a fork until the child is moved, on average of late */
	pid_t children[MAX_CHILDREN]; /* 0: waited for */
	uint64_t forked_ns[MAX_CHILDREN];
};

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	if (!cgroups_own(self, state->own))
		return work_refuse(self->slot, REFUSED_CGROUPS);
	state->random = self->slot->report.index;
	state->delay_ns = FIRST_GUESS_NS;
	snprintf(state->name, sizeof(state->name), "storm.%u", self->slot->report.index);
	state->threads = cgroups_make(state->own, state->name);
	return state->threads >= 0 || work_refuse(self->slot, REFUSED_CGROUPS);
}

/* Exits with whether it was in the sibling then. */
__attribute__((noreturn)) static void live_shortly(const struct state *state, uint64_t ns)
{
	struct timespec time = timespec_of(ns);

	nanosleep(&time, NULL);
	_exit(cgroups_in(state->name));
}

static void fork_all(struct self *self, struct state *state)
{
	for (uint64_t i = 0; i < self->slot->params[0]; i++) {
		uint64_t ns = random_below(&state->random, 2 * state->delay_ns);

		state->forked_ns[i] = measure_look(self->slot);
		state->children[i] = fork();
		if (state->children[i] == 0)
			live_shortly(state, ns);
		if (state->children[i] < 0)
			state->children[i] = 0; /* no room for another task */
		self->slot->units++;
	}
}

static void move(struct self *self, struct state *state, uint64_t at)
{
	tally(self, ATTACHED, cgroups_move(self, state->threads, state->children[at]) > 0);
	state->delay_ns = (3 * state->delay_ns + measure_look(self->slot) - state->forked_ns[at]) / 4 + 1;
}

/* False: stopped. */
static bool reap(struct self *self, pid_t *child)
{
	int status = 0;

	if (*child && block_call(self, SYS_wait4, (long[6]){ *child, (long)&status }) != *child)
		return false;
	if (*child) {
		tally(self, EXITS, 1);
		tally(self, JOINED, WIFEXITED(status) && WEXITSTATUS(status));
	}
	*child = 0;
	return true;
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;

	fork_all(self, state);
	for (uint64_t i = 0; i < self->slot->params[0] && !stopped(self); i++)
		if (state->children[i])
			move(self, state, i);
	for (uint64_t i = 0; i < self->slot->params[0]; i++)
		if (!reap(self, &state->children[i]))
			return false;
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	for (uint64_t i = 0; i < self->slot->params[0]; i++) /* they end by themselves */
		while (state->children[i] && waitpid(state->children[i], NULL, 0) < 0 && errno == EINTR)
			;
	tally(self, SIBLING_NS, cgroups_cpu_ns(state->own, state->name));
	close(state->threads);
	cgroups_remove(state->own, state->name);
	free(state);
}

const struct work_ops work_cgroup_attach_storm = { .prepare = prepare, .iterate = iterate, .finish = finish };
