// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_REGISTRY_H
#define KTSTR_REGISTRY_H

#include <sys/types.h>

#include "measure/slot.h"
#include "work/work.h"
#include "worker/choice.h"

struct thread_group;

/* One worker of the program, through all its spawns. */
struct worker {
	uint32_t id;
	const struct ktstr_work *work;
	uint32_t work_id;
	uint32_t affinity; /* mask, in place of its work's; 0: that one */
	pid_t pid; /* its task's, 0 when it is not there */
	struct thread_group *group; /* whose thread it is, until that has ended too; NULL: a process */
	int status;
	bool spawned, timed_out, reported; /* of its last spawn */
	uint32_t spawns;
	struct made made;
	int32_t cgroup; /* where it is now */
	uint64_t migrated; /* pages of the machine, between nodes, at its release */
	uint64_t past_iterations; /* of earlier spawns */
	struct ktstr_progress told; /* at its last checkpoint */
	struct slot *slot;
};

bool registry_make(const struct program *program);
const struct ktstr_work *registry_work(uint32_t work);
const struct work_type *registry_type(uint32_t work);
const struct ktstr_cpumask *registry_mask(uint32_t mask);
struct worker *registry_worker(uint32_t id);
uint32_t registry_workers(void);
/* Its task has ended, so: say what that could not do, if it was never ready. */
void registry_gone(struct worker *worker, int status);
/* Give it its slot, for one more spawn. */
void registry_prepare(struct worker *worker, uint32_t work, struct made made);
/* It has ended, or is given up: send its report. migrated: pages of the machine, between nodes, so far. */
void registry_end(struct worker *worker, uint64_t migrated);
const char *registry_string(uint32_t at);
/* Those that are chosen and are so, in the order of their release; to be freed, also when there is none. */
uint32_t registry_choose(const struct choice *choice, bool (*is_so)(const struct worker *), struct worker ***ret);

/* Iterations of all workers since the scenario began. */
uint64_t registry_iterations(void);

#endif
