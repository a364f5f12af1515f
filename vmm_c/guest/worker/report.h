// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_REPORT_H
#define KTSTR_REPORT_H

#include "measure/slot.h"

/*
 * Send a worker's report, its migrations, its samples and, where it counted them, its pages. The worker has ended, or
 * will be ignored. migrated: pages that were moved between nodes meanwhile.
 */
void report_worker(const struct slot *slot, uint64_t migrated);

/* Per-vCPU totals: from the first of the begins to the last of the ends; later, send how far they came. */
void report_vcpus_begin(void);
void report_vcpus_end(void);
void report_vcpus_send(void);

#endif
