// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_RUN_H
#define KTSTR_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "ktstr_proto.h"

/* The run's clock and fate. started is when the agent began; the deadline counts from there. */
void run_set_deadline(uint64_t started, uint64_t deadline_ns);
uint64_t run_deadline(void); /* absolute; UINT64_MAX until it is set */
void run_begin_scenario(void);
uint64_t run_at_ns(void); /* since the scenario began, 0 before */

/* True once nothing new may be started: an error, a lost scheduler, the deadline. */
bool run_aborting(void);
enum ktstr_end run_status(void);
/* The first reason stands, but the deadline overrides it. */
void run_abort(enum ktstr_end status);
/* Notice the deadline. Returns run_aborting(). */
bool run_check_deadline(void);

#endif
