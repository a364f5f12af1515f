// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_MEASURE_H
#define KTSTR_MEASURE_H

#include <stdint.h>

#include "arena.h"
#include "schedstat.h"

/*
 * How a worker watches itself.
 *
 * A checkpoint is taken when 1,024 units of work were done since the last one, or 1 ms passed,
 * whichever comes first after an outer iteration; so a slow kind of work is seen as often as a
 * fast one. It reads CLOCK_MONOTONIC and CLOCK_THREAD_CPUTIME_ID as one pair, at every checkpoint:
 * the largest gap is split exactly because the CPU time at both its ends is known. A pair is read
 * again when something came between the two clocks.
 *
 * gap: wall time between two checkpoints, what the kernel charged as CPU time set apart.
 * stall: CPU time charged between two checkpoints. The work between them is fixed, so a large one
 * means that the CPU itself did not run: the emulator's or the host's doing.
 * Time blocked on purpose is left out by measure_restart, except where a work type counts it.
 */
struct instant {
	uint64_t wall_ns;
	uint64_t cpu_ns;
};

struct measure {
	struct worker_arena *arena;
	uint64_t start_ns; /* when it was released and its own delay was over */
	uint64_t start_cpu_ns;
	struct instant gap_from;
	struct instant stall_from;
	uint64_t units_at_checkpoint;
	uint64_t units;
	uint32_t cpu;
	struct schedstat schedstat_start;
	int has_schedstat;
};

/*
 * Before the worker waits for its release: what it will have used then is not its work, but how
 * the machine brings it from its release to its first instruction is.
 */
void measure_prepare(struct measure *m, struct worker_arena *arena);
/* At the first instruction of its work. start_ns is when it should have been there. */
void measure_begin(struct measure *m, uint64_t start_ns);
/* After each outer iteration. */
void measure_iteration(struct measure *m);
/* Between two pieces of fixed work inside an iteration: stall, migration, CPUs, but no gap. */
void measure_piece(struct measure *m);
/* Both gap and stall, now. */
void measure_checkpoint(struct measure *m);
/* Before and after blocking on purpose: neither gap nor stall may count what is between. */
void measure_block(struct measure *m);
void measure_restart(struct measure *m);
/* The same for stall only: the gap goes on. */
void measure_restart_piece(struct measure *m);
void measure_wake(struct measure *m, uint64_t latency_ns);
void measure_end(struct measure *m);

/*
 * For the agent, about a worker that lives but does not come to its end: count the time until now
 * as the kernel charged it, and the gap that is still open.
 */
void measure_from_outside(struct worker_arena *arena, int32_t pid);

#endif
