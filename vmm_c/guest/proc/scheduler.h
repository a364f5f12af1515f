// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SCHEDULER_H
#define KTSTR_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/program.h"

/*
 * The scheduler under test: a program that attaches a sched_ext scheduler and stays.
 *
 * From its attach until scheduler_stop asks it to go, any of these is its loss and aborts the run:
 * its process ends (exited, signaled), or the kernel's state leaves "enabled", or another attach
 * took its place (evicted, with the kernel's own words). All of them wake the agent up at once;
 * scheduler_check is for the moments when it is not asleep.
 */
void scheduler_start(const struct program *program, const struct ktstr_op *op, uint32_t scope);
bool scheduler_is_attached(void);
/* In which scope it was started, 0 for none. */
uint32_t scheduler_scope(void);
void scheduler_stop(uint64_t timeout_ns);
void scheduler_check(void);
/* The end of the run: let it say its last words, end it, send its log and the kernel's. */
void scheduler_finish(void);
/* Send what its log and the kernel's have so far. */
void scheduler_send_logs(void);

#endif
