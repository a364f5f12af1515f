// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_RETRY_H
#define KTSTR_RETRY_H

#include <stdint.h>

#include "proc/process.h"

/*
 * Start a loader that ended before it attached once more, with its bpf(2) calls traced, and send what the
 * kernel refused it, in its own words. Its output is not kept: it has been heard. It ends with this,
 * after so long at the latest.
 *
 * status: how it ended the first time.
 */
void retry_traced(const struct process_spec *spec, int status, uint64_t within_ns);

#endif
