// SPDX-License-Identifier: GPL-2.0-only
/*
 * One calls all the others of its group, who sleep at one futex, and does it again when each of them is done: a call
 * finds all of them, and none misses one. An iteration of those who are called is a call.
 */
#ifndef KTSTR_WORK_HERD_H
#define KTSTR_WORK_HERD_H

#include "work/work.h"

/* The first counts of a type of these. */
enum herd_counts { HERD_WOKE, HERD_SLEPT };

struct herd {
	_Atomic uint32_t calls; /* futex of those who are called */
	_Atomic uint32_t prize; /* the type's own */
	_Atomic uint64_t sent_ns;
	_Alignas(64) _Atomic uint32_t done; /* futex of the caller: calls after which each is done */
	_Atomic uint32_t busy; /* how many are not */
	_Atomic uint64_t done_ns;
};

/* Of the first of a group. False: it was stopped. */
bool herd_await(struct self *self);
void herd_call(struct self *self);
/* Of the others. False: it was stopped. */
bool herd_called(struct self *self);
void herd_done(struct self *self);

#endif
