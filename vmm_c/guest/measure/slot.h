// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SLOT_H
#define KTSTR_SLOT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "measure/reservoir.h"
#include "wire/program.h"

#define SLOT_PATH_BYTES 704

enum gate {
	GATE_CLOSED = 0,
	GATE_OPEN = 1,
	GATE_STOPPED = 2, /* it never opened: the worker ends without having begun */
};

/* What a worker could not do to itself before it was ready: the agent says so. */
enum refused {
	REFUSED_NOTHING = 0,
	REFUSED_THREAD = 1,
	REFUSED_PIPES = 2,
	REFUSED_NAMESPACE = 3,
	REFUSED_MEM_POLICY = 4,
	REFUSED_MEMORY = 5,
	REFUSED_FILE = 6,
	REFUSED_SIBLINGS = 7,
	REFUSED_PARTNER = 8,
	REFUSED_POLICY = 9,
	REFUSED_CGROUPS = 10,
};

/*
 * One worker's memory, shared with the agent and made before all forks, so that what a killed
 * worker measured survives it. The agent writes the first part before the fork (release_ns, gate
 * and stop later); the rest is the worker's, and the agent's to read: single words at any time,
 * the report once the worker has ended.
 */
struct slot {
	uint32_t type;
	uint32_t place; /* in its group */
	uint32_t group; /* how many those are */
	uint64_t params[KTSTR_MAX_PARAMS];
	uint64_t start_offset_ns;
	void *shared; /* its group's, zeros before the first iteration */
	size_t shared_bytes;
	int read_fd, write_fd; /* PIPES: from and to the partner */
	int partner_read_fd, partner_write_fd; /* inherited, to be closed */
	uint32_t migration_room; /* how many migrations to keep; all are counted */
	uint32_t clock_is_call; /* 1 where reading the clock is a system call */
	struct ktstr_migration *migrations;
	uint64_t *pages; /* KTSTR_MAX_NODES of them, by node; NULL: nobody asks */
	char name[KTSTR_MAX_COMM + 1];
	uint32_t own_namespace; /* 1: it sees its cgroup as the root */
	char cgroup_path[SLOT_PATH_BYTES]; /* of its cgroup's folder, where it sees that as the root */
	uint32_t mem_mode; /* of set_mempolicy(2), 0: as it is */
	uint64_t mem_nodes;
	_Atomic uint32_t placed; /* futex of a thread: it has its policy and CPUs */
	uint64_t release_ns; /* CLOCK_MONOTONIC, set before the gate opens */
	_Atomic uint64_t frozen_ns; /* how long the program has kept it frozen since it looked last; the worker takes it */
	_Atomic uint32_t gate; /* futex */
	_Atomic uint32_t stop;

	_Alignas(64) _Atomic uint32_t ready; /* it waits at its gate, with nothing left to prepare */
	_Atomic uint32_t ended; /* a thread is over */
	uint32_t refused;
	int32_t error; /* why, an errno */
	uint32_t page_nodes; /* of its pages; 0: they were not counted */
	uint32_t cpu;
	uint64_t units; /* of work */
	_Atomic uint64_t iterations;
	uint64_t start_ns; /* when it was released and its own delay was over; 0 before */
	uint64_t looked_ns; /* when it last looked at the clock, which is where the open gap begins */
	/* The last pair of readings; blocked time is put to wall_ns, so that what is between is owed. */
	uint64_t read_wall_ns, read_cpu_ns;
	uint64_t start_cpu_ns;
	/* Since when it waits to be woken, for a sleep when that is over, the largest when nobody can say; 0: it does not. */
	uint64_t blocked_ns;
	_Atomic uint64_t phase_gap_ns; /* the largest since the agent's last checkpoint */
	struct ktstr_msg_worker report;
	struct reservoir wakes, requests;
};

#endif
