// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_WORKER_H
#define KTSTR_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "ktstr_proto.h"

/* The agent's side of its workers. total is how many the whole program spawns. */
bool worker_setup(uint32_t total);
/* Fork them blocked, in their cgroup, policy and affinity set. Reports its errors. */
void worker_spawn(const struct ktstr_op_spawn *op);
/* Wait until each is at its gate, then open the gates in this order. */
void worker_release(const struct ktstr_op_release *op);
/* Stop all that live, kill those that outlive the timeout, and send every report not sent yet. */
void worker_stop_all(uint64_t timeout_ns);
/* Outer iterations of all workers so far. */
uint64_t worker_iterations(void);

#endif
