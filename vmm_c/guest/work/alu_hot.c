// SPDX-License-Identifier: GPL-2.0-only
/* params: chains of multiplications beside each other. */
#include "work/chains.h"

#define STEPS 2048

enum counts_at { MULTIPLIED };

static _Thread_local struct chains chains;

static bool prepare(struct self *self)
{
	(void)self;
	chains_init(&chains);
	return true;
}

static bool iterate(struct self *self)
{
	chains_run(self, &chains, (uint32_t)self->slot->params[0], STEPS);
	return !stopped(self);
}

static void finish(struct self *self)
{
	tally(self, MULTIPLIED, chains_multiplied(&chains, (uint32_t)self->slot->params[0]));
}

const struct work_ops work_alu_hot = { .prepare = prepare, .iterate = iterate, .finish = finish };
