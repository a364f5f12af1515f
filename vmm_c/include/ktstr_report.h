// SPDX-License-Identifier: GPL-2.0-only
/* What a worker measured, and what follows its report. The rules of ktstr_proto.h hold for this file too. */
#ifndef KTSTR_WORKER_REPORT_H
#define KTSTR_WORKER_REPORT_H

#include <stdint.h>

#include "ktstr_program.h"

/* Reports: of workers that are spawned again too. */
#define KTSTR_MAX_REPORTS 16384
/* Samples kept of one worker, and of all of them together: of each series. */
#define KTSTR_MAX_SAMPLES 100000
#define KTSTR_MAX_SAMPLES_TOTAL 4000000
#define KTSTR_MAX_MIGRATIONS 4096
#define KTSTR_MAX_MIGRATIONS_TOTAL 1048576
/* How many records fit one frame with room to spare. */
#define KTSTR_SAMPLES_PER_FRAME 8000
#define KTSTR_MIGRATIONS_PER_FRAME 4000

enum ktstr_exit {
	KTSTR_EXIT_NONE = 0,
	KTSTR_EXIT_EXITED = 1,
	KTSTR_EXIT_SIGNALED = 2,
	KTSTR_EXIT_TIMED_OUT = 3,
	KTSTR_EXIT_WAIT_FAILED = 4
};

/*
 * One worker's report. A worker that did not end by itself leaves what it had written at its
 * last checkpoint, with completed 0 and an exit kind.
 */
struct ktstr_msg_worker {
	uint32_t index;
	uint32_t spawn; /* how often it had been spawned before */
	uint32_t work;
	int32_t cgroup;
	int32_t tid;
	uint32_t place; /* in the group that works together */
	uint64_t work_units;
	uint64_t iterations;
	uint64_t cpu_time_ns;
	uint64_t wall_time_ns;
	uint64_t migration_count;
	uint64_t max_gap_ns;
	uint64_t max_gap_at_ns;
	uint64_t max_gap_off_cpu_ns;
	uint64_t max_stall_ns;
	uint64_t wake_sample_total;
	uint64_t open_wait_ns; /* a wait that its end cut short, the last of the samples; 0 when none was open */
	uint64_t measuring_calls; /* system calls made to measure */
	uint64_t schedstat_cpu_time_ns;
	uint64_t schedstat_run_delay_ns;
	uint64_t schedstat_run_count;
	struct ktstr_cpumask cpus_used;
	uint32_t max_gap_cpu;
	uint32_t max_stall_cpu;
	uint32_t migrations_stored;
	uint32_t samples_stored;
	uint32_t has_schedstat;
	uint32_t completed;
	uint32_t exit_kind;
	int32_t exit_code; /* status, signal or errno */
	uint64_t counts[KTSTR_MAX_COUNTS]; /* by the places of its type's counts, the others 0 */
	uint64_t request_sample_total;
	uint32_t requests_stored;
	uint32_t reserved2;
};

struct ktstr_migration {
	uint64_t at_ns;
	uint32_t from_cpu;
	uint32_t to_cpu;
};

/* Then count times struct ktstr_migration; several frames may follow one worker. */
struct ktstr_msg_migrations {
	uint32_t worker;
	uint32_t count;
};

/* What was sampled: how late it was woken, how long its requests took. */
enum ktstr_series {
	KTSTR_SERIES_WAKES = 0,
	KTSTR_SERIES_REQUESTS = 1
};

/* Then count times uint64_t ns; several frames may follow one worker. */
struct ktstr_msg_samples {
	uint32_t worker;
	uint32_t series;
	uint32_t count;
	uint32_t reserved;
};

/* migrated: this kernel does not count them. */
#define KTSTR_UNKNOWN_MIGRATED 0xffffffffffffffff
/*
 * Then count times uint64_t, by node: the pages of the memory that the worker works in (numa_maps), and all workers
 * of its process, after its report.
 * migrated: numa_pages_migrated of /proc/vmstat since its work was released; a number of the whole machine.
 */
struct ktstr_msg_pages {
	uint32_t worker;
	uint32_t count;
	uint64_t migrated;
};

_Static_assert(sizeof(struct ktstr_msg_worker) == 320, "layout");
_Static_assert(sizeof(struct ktstr_migration) == 16, "layout");
_Static_assert(sizeof(struct ktstr_msg_migrations) == 8, "layout");
_Static_assert(sizeof(struct ktstr_msg_samples) == 16, "layout");
_Static_assert(sizeof(struct ktstr_msg_pages) == 16, "layout");

#endif
