// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PROC_PAYLOAD_H
#define KTSTR_PROC_PAYLOAD_H

#include "base/made.h"
#include "wire/program.h"

/*
 * Programs that run beside the workers. What happens to them is told; these report their errors. What one
 * wrote is sent when it was waited for or killed: KTSTR_MAX_LOG_BYTES of each stream, in all its runs.
 */
void payload_run(const struct program *program, uint32_t id, struct made made);
/* Until it has ended, or the run; then kill what is left of its process group. */
void payload_wait(uint32_t id, uint64_t timeout_ns);
/* Its process group. What has left that ends with its cgroup. */
void payload_kill(uint32_t id);
/* End those that a scope made; 0 for all. After the deadline only what they wrote is sent. */
void payload_kill_of(uint32_t scope);

#endif
