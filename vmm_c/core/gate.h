// SPDX-License-Identifier: GPL-2.0-only
/*
 * What every vCPU thread passes before it runs guest code: it holds them while the machine is
 * paused and lets none through once the machine has to end. It also knows why and when it ended.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* on the monotonic clock */
	atomic_bool closed; /* vCPUs may not just walk through; in the one order of all atomics, see run.c */
	bool starting; /* threads are being created */
	bool stopping; /* there is a reason to end */
	bool ended; /* all vCPU threads are gone, all output is out */
	uint32_t holds; /* pauses, and one until the machine is started */
	uint32_t inside; /* threads that may be running guest code */
	struct vmm_exit exit;
};

int gate_init(struct gate *gate, struct vmm_error *err);
void gate_deinit(struct gate *gate);
/* The thread is outside until its first gate_pass. */
bool gate_enter(struct gate *gate);
/* Before each run of guest code by a thread that is inside: false when it has to go, and is outside. */
bool gate_pass(struct gate *gate);
/* Let vCPUs go on when this was the last hold. Holds that were never taken are not let go. */
void gate_release(struct gate *gate);
/* Note why the machine ends, unless there is a reason already; nobody passes any more. */
void gate_end(struct gate *gate, const struct vmm_exit *exit);
void gate_mark_ended(struct gate *gate);
/* 1 when ended, 0 after timeout_ms; negative waits for ever. */
int gate_wait(struct gate *gate, int64_t timeout_ms, struct vmm_exit *ret);
