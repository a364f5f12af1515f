// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SCHBENCH_RATE_H
#define KTSTR_SCHBENCH_RATE_H

#include "work/work.h"

/* The numbers of the type, and what its crew shares. */
enum schbench_params { WORKER_THREADS, FOOTPRINT, OPERATIONS, THINK, RPS, AUTO_RPS, PIPE, LOCKING };

#define SCHBENCH_PAGE 4096

struct member {
	_Alignas(64) _Atomic uint32_t word; /* futex */
	_Atomic uint32_t posted; /* it waits for an answer */
	_Atomic uint32_t pending; /* requests that wait for it */
	_Atomic uint64_t sent_ns; /* when it was woken */
	char page[SCHBENCH_PAGE];
};

struct shared {
	_Alignas(64) _Atomic uint32_t word; /* futex of the message thread */
	_Atomic uint64_t sent_ns; /* when it was woken */
	_Alignas(64) _Atomic uint32_t locks[KTSTR_MAX_CPUS];
	struct member members[];
};

_Static_assert(sizeof(struct shared) <= 4096 && sizeof(struct member) <= 4352, "the shared bytes of the table");

/* How often a message thread that sends requests at a rate looks which are due. */
#define SCHBENCH_TICK_NS 1000000

struct schbench_rate {
	uint64_t per_s;
	uint64_t from_ns, sent; /* since the rate was set */
	uint64_t looked_ns, busy, total; /* of /proc/stat */
};

/* How many requests are due since the last time, by a rate that may be steered by the load of the machine's CPUs. */
uint64_t schbench_due(struct schbench_rate *rate, const uint64_t *params, uint64_t now);

#endif
