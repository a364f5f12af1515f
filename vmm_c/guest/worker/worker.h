// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_WORKER_H
#define KTSTR_WORKER_H

#include <stdbool.h>

#include "worker/choice.h"

/* Make room for all workers of a program, and begin to reap them. False with errno. */
bool worker_setup(const struct program *program);

/* These report their errors. */
/* Fork the workers of a work, each blocked at its gate, and place them. */
void worker_spawn(uint32_t work, struct made made);
/* Wait until those that are chosen and blocked are ready, then let them go in their order. */
void worker_release(const struct choice *choice);
void worker_move(const struct choice *choice, uint32_t cgroup);
void worker_set_affinity(const struct choice *choice, const struct ktstr_cpumask *cpus);

/*
 * Stop those that are chosen, wait at most so long for all of them together (after the deadline hardly at
 * all), and send their reports.
 */
void worker_stop(const struct choice *choice, uint64_t timeout_ns);

#endif
