// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_LOCK_H
#define KTSTR_LOCK_H

#include "work/work.h"

/* A mutex in memory that a group shares, zeros when it is free. */
struct lock {
	_Atomic uint32_t word; /* a futex: 0 free, 1 taken, 2 taken and perhaps waited for */
	_Atomic uint64_t given_ns; /* when it was last given to one that waits */
};

/*
 * Sleeps until it has it, and samples how late it was woken. Adds to waits how often it slept. False: the worker is to
 * stop, and has it not.
 */
bool lock_take(struct self *self, struct lock *lock, uint64_t *waits);
void lock_give(struct lock *lock);

#endif
