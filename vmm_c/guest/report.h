// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_REPORT_H
#define KTSTR_REPORT_H

#include "arena.h"

/* Send a worker's report, its migrations and its samples. The worker has ended, or will be ignored. */
void report_worker(const struct worker_arena *arena);

/* Per-vCPU totals: note where they stand, and later send how far they came. */
void report_vcpus_begin(void);
void report_vcpus_send(void);

/* Send an Error message and abort the run with KTSTR_END_ERROR. */
__attribute__((format(printf, 1, 2))) void run_error(const char *format, ...);

#endif
