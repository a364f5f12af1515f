// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_MEASURE_H
#define KTSTR_MEASURE_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "measure/schedstat.h"
#include "measure/slot.h"

/*
 * How a worker watches itself.
 *
 * It looks at CLOCK_MONOTONIC, which needs no system call, after each piece of fixed work: an
 * iteration, or a part of a long one. CLOCK_THREAD_CPUTIME_ID is a system call, and with it a
 * chance to be preempted that the work alone does not give: it is read once a millisecond, and
 * after a gap that is the largest so far.
 *
 * gap: wall time between two looks. Time blocked on purpose is left out, and time that the program froze it for.
 * off CPU: of the wall time since the last reading of the CPU clock, what the kernel did not charge;
 * as far as it fits the gap. What was lost in the millisecond before the gap counts as the gap's.
 * stall: the rest of the gap. The work between two looks takes microseconds, so a large one means
 * that the CPU itself did not run: the emulator's or the host's doing.
 */
#define MEASURE_READ_NS 1000000

struct measure {
	struct slot *slot;
	struct schedstat schedstat_start;
	int has_schedstat;
	bool frozen; /* in its last wait: nobody can say then how late it was woken */
};

/*
 * Before the worker waits for its release: what it will have used then is not its work, but how
 * the machine brings it from its release to its first instruction is.
 */
void measure_prepare(struct measure *m, struct slot *slot);
/* At the first instruction of its work. start_ns is when it should have been there. */
void measure_begin(struct measure *m, uint64_t start_ns);
/*
 * The part of a look that is rarely needed: a reading of the CPU clock, another CPU. A reading gives when it
 * was taken, which is where the gap ends: whatever came between the look and that is of the same gap.
 */
uint64_t measure_read(struct slot *slot);
void measure_migrated(struct slot *slot, uint32_t cpu, uint64_t now);
/* Before blocking on purpose. due_ns: from when on it is late to go on, 0 for now. Gives the time. */
uint64_t measure_block(struct measure *m, uint64_t due_ns);
/* Woken: the time between is neither gap nor off CPU. Gives the time. */
uint64_t measure_unblock(struct measure *m);
/* Unless it was frozen in its last wait. */
void measure_wake(struct measure *m, uint64_t latency_ns);
/* At its end, which may have cut a wait short. */
void measure_end(struct measure *m);

/*
 * For the agent, about a worker that lives but does not come to its end: count the time until now
 * as the kernel charged it, and the gap or the wait that is still open.
 */
void measure_from_outside(struct slot *slot, int32_t tid, bool is_thread);
/*
 * CPU time of a process, or of a thread of another: the CPU clock of that is its own to read, so it is what
 * its schedstat has, and none without. False when there is none.
 */
bool measure_cpu_ns(int32_t tid, bool is_thread, uint64_t *ret);

/* After a piece of fixed work. Gives the time. */
static inline uint64_t measure_look(struct slot *slot)
{
	uint64_t now = now_ns(), gap = now - slot->looked_ns;
	uint32_t cpu = (uint32_t)sched_getcpu();

	slot->report.measuring_calls += slot->clock_is_call;
	if (gap > slot->report.max_gap_ns || now - slot->read_wall_ns >= MEASURE_READ_NS)
		now = measure_read(slot);
	if (cpu != slot->cpu)
		measure_migrated(slot, cpu, now);
	slot->looked_ns = now;
	return now;
}

static inline void measure_iteration(struct slot *slot)
{
	uint64_t done = atomic_load_explicit(&slot->iterations, memory_order_relaxed);

	atomic_store_explicit(&slot->iterations, done + 1, memory_order_relaxed);
	measure_look(slot);
}

#endif
