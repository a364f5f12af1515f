// SPDX-License-Identifier: GPL-2.0-only
/* What workers of a pair do with each other, in several types. */
#ifndef KTSTR_WORK_PAIR_H
#define KTSTR_WORK_PAIR_H

#include "work/work.h"

/* Of a type with PIPES, the first of whose counts are these. */
enum exchange_counts { EXCHANGED_BYTES };

/* Both send before they wait, so one may be a byte ahead: the stamps of two have room. */
struct exchange {
	_Atomic uint64_t sent_ns[2][2]; /* to each, by its place; of even and of odd bytes */
};

/* Sends its partner a byte, and waits for one from it. False: it cannot, or was stopped. */
bool exchange(struct self *self);

/* Of a type with turns, the first of whose counts are these. */
enum turn_counts { TURN_WOKE, TURN_SLEPT };

/* The word holds the place whose turn it is. */
struct turns {
	_Atomic uint32_t word;
	_Alignas(32) _Atomic uint64_t sent_ns;
};

/* Gives the turn to its partner, and waits to have it back. False: it was stopped. */
bool turn(struct self *self);

#endif
