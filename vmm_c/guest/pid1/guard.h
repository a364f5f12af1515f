// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_GUARD_H
#define KTSTR_GUARD_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Start a process that powers the machine off, having sent End with the deadline status, when the
 * agent itself did not do so some seconds after this time (CLOCK_MONOTONIC): a kernel whose
 * scheduler stalls can keep the agent inside a system call. Before the agent makes memory for its
 * workers: the guard locks all that there is, above every scheduler.
 */
bool guard_start(uint64_t deadline);
/* The agent came to an end of what it guarded. */
void guard_stop(void);

#endif
