// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_REGISTRY_H
#define KTSTR_REGISTRY_H

#include <sys/types.h>

#include "measure/slot.h"
#include "work/work.h"
#include "worker/choice.h"

/* One worker of the program, through all its spawns. */
struct worker {
	uint32_t id;
	const struct ktstr_work *work;
	uint32_t work_id;
	pid_t pid; /* 0 when it is not there */
	int status;
	bool spawned, timed_out, reported; /* of its last spawn */
	uint32_t spawns;
	struct made made;
	int32_t cgroup; /* where it is now */
	uint64_t past_iterations; /* of earlier spawns */
	struct ktstr_progress told; /* at its last checkpoint */
	struct slot *slot;
};

bool registry_make(const struct program *program);
const struct ktstr_work *registry_work(uint32_t work);
const struct work_type *registry_type(uint32_t work);
const struct ktstr_cpumask *registry_mask(uint32_t mask);
struct worker *registry_worker(uint32_t id);
/* Give it its slot, for one more spawn. */
void registry_prepare(struct worker *worker, uint32_t work, struct made made);
/* It has ended, or is given up: send its report. */
void registry_end(struct worker *worker);
/* Those that are chosen and are so, in the order of their release; to be freed, also when there is none. */
uint32_t registry_choose(const struct choice *choice, bool (*is_so)(const struct worker *), struct worker ***ret);

/* Iterations of all workers since the scenario began. */
uint64_t registry_iterations(void);

#endif
