// SPDX-License-Identifier: GPL-2.0-only
/* Multiplications of which each waits for the one before it in its chain, and for none of another chain. */
#ifndef KTSTR_WORK_CHAINS_H
#define KTSTR_WORK_CHAINS_H

#include "work/work.h"

#define MAX_CHAINS 8
#define CHAIN_FACTOR UINT64_C(0x5851F42D4C957F2D) /* odd: a product says how many factors it has */

struct chains {
	uint64_t at[MAX_CHAINS];
	uint64_t steps;
};

void chains_init(struct chains *chains);
/* So many steps, each a multiplication in the first width chains, and a unit; in pieces as spin has them. */
void chains_run(struct self *self, struct chains *chains, uint32_t width, uint64_t steps);
/* How many multiplications there were: those of the chains that are what so many steps make of them. */
uint64_t chains_multiplied(const struct chains *chains, uint32_t width);

#endif
