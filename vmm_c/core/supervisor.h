// SPDX-License-Identifier: GPL-2.0-only
/* The machine's one thread that runs no guest: it serves doorbells, the deadline and the end. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define SUPERVISOR_MAX_WATCHES 8

struct watch {
	void (*ready)(void *device);
	void *device;
};

struct supervisor {
	int epoll;
	int end; /* eventfd: the machine has a reason to end */
	int deadline; /* timerfd */
	uint32_t count;
	struct watch watches[SUPERVISOR_MAX_WATCHES];
};

/* What the supervisor does for the machine. */
struct supervisor_ops {
	void (*lock_devices)(void *machine);
	void (*unlock_devices)(void *machine);
	void (*deadline)(void *machine);
	void (*failed)(void *machine, const struct vmm_error *err);
};

int supervisor_init(struct supervisor *supervisor, struct vmm_error *err);
/* Safe after a supervisor_init that failed. */
void supervisor_deinit(struct supervisor *supervisor);
/* Before the loop begins. */
int supervisor_watch(struct supervisor *supervisor, int fd, void (*ready)(void *device), void *device,
		     struct vmm_error *err);
/* As often as fd becomes writable, which some output may have to wait for. */
int supervisor_watch_writable(struct supervisor *supervisor, int fd, void (*ready)(void *device), void *device,
			      struct vmm_error *err);
int supervisor_set_deadline(struct supervisor *supervisor, uint64_t ms, struct vmm_error *err);
/* From any thread: have the loop return. */
void supervisor_wake(struct supervisor *supervisor);
void supervisor_loop(struct supervisor *supervisor, const struct supervisor_ops *ops, void *machine);
