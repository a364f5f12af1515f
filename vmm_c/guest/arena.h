// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_ARENA_H
#define KTSTR_ARENA_H

#include <stdatomic.h>
#include <stdint.h>

#include "ktstr_proto.h"
#include "reservoir.h"

/*
 * One worker's memory, shared with the agent and made before the fork, so that what a killed
 * worker measured survives it. The agent writes the first part before the fork (release_ns, gate
 * and stop later); the rest is the worker's, and the agent's to read once it has ended.
 */
struct worker_arena {
	uint32_t work_type;
	uint64_t params[KTSTR_MAX_PARAMS];
	uint64_t start_offset_ns;
	uint64_t release_ns; /* CLOCK_MONOTONIC, set before the gate opens */
	struct worker_arena *leader; /* first of its group: has the shared word */
	uint32_t place; /* in its group */
	uint32_t migration_room; /* how many migrations to keep; all are counted */
	int read_fd, write_fd; /* PipeIo: from and to the partner */
	_Atomic uint32_t gate; /* futex: 1 lets the worker begin */
	_Atomic uint32_t stop;

	_Alignas(64) _Atomic uint32_t word; /* the group's futex, in the leader's arena */
	/* Where the open gap began, for the agent to finish when the worker cannot; blocked: no gap runs. */
	uint64_t gap_wall_ns, gap_cpu_ns, start_cpu_ns;
	uint32_t gap_cpu, blocked;
	_Alignas(64) _Atomic uint64_t iterations; /* published after each outer iteration */
	struct ktstr_msg_worker report;
	struct reservoir wakes;
	struct ktstr_migration migrations[KTSTR_MAX_MIGRATIONS];
	/* Only as many as the spawner made room for; pages come with first use. */
	uint64_t samples[];
};

#endif
