// SPDX-License-Identifier: GPL-2.0-only
/* params: KiB of the region, pages to touch in a cycle, spins after it. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/random.h"
#include "work/work.h"

enum counts_at { TOUCHES, MINOR_FAULTS };

/* A touch is a page fault: so many between two looks at the clock. */
#define PIECE_TOUCHES 32

struct state {
	char *region;
	size_t bytes, page, pages;
	uint64_t random;
};

static bool prepare(struct self *self)
{
	struct state *state;

	if (!work_state(self, sizeof(*state)))
		return false;
	state = self->state;
	state->page = (size_t)sysconf(_SC_PAGESIZE);
	state->pages = self->slot->params[0] * 1024 / state->page;
	state->pages += !state->pages;
	state->bytes = state->pages * state->page;
	state->random = self->slot->report.index;
	state->region = mmap(NULL, state->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);
	if (state->region == MAP_FAILED)
		return work_refuse(self->slot, REFUSED_MEMORY);
	madvise(state->region, state->bytes, MADV_NOHUGEPAGE);
	return true;
}

static void touch(struct self *self, struct state *state, uint64_t touches)
{
	struct slot *slot = self->slot;

	for (uint64_t i = 0; i < touches; i++) {
		size_t at = random_below(&state->random, state->pages) * state->page;

		((volatile char *)state->region)[at] = 1; /* to read it first would be a fault of its own */
		slot->units++;
	}
	tally(self, TOUCHES, touches);
}

static bool iterate(struct self *self)
{
	struct state *state = self->state;
	struct rusage before, after;

	getrusage(RUSAGE_THREAD, &before);
	for (uint64_t left = self->slot->params[1]; left && !stopped(self);) {
		uint64_t piece = left < PIECE_TOUCHES ? left : PIECE_TOUCHES;

		touch(self, state, piece);
		left -= piece;
		measure_look(self->slot);
	}
	getrusage(RUSAGE_THREAD, &after);
	self->slot->report.measuring_calls += 2;
	tally(self, MINOR_FAULTS, (uint64_t)(after.ru_minflt - before.ru_minflt));
	madvise(state->region, state->bytes, MADV_DONTNEED);
	spin(self, self->slot->params[2]);
	return true;
}

static void finish(struct self *self)
{
	struct state *state = self->state;

	munmap(state->region, state->bytes);
	free(state);
}

const struct work_ops work_page_fault_churn = { .prepare = prepare, .iterate = iterate, .finish = finish };
