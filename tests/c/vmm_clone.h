// SPDX-License-Identifier: GPL-2.0-only
/* Machines that are saved, and clones of them: what tests of these share. */
#ifndef KTSTR_VMM_CLONE_H
#define KTSTR_VMM_CLONE_H

#include <x86intrin.h>

#include "vmm_machine.h"

struct snapshot {
	int memory, state;
};

static inline struct snapshot save(struct vmm *vmm)
{
	struct snapshot made = { output_file(), output_file() };
	int rc = vmm_snapshot(vmm, made.memory, made.state, &error);

	if (rc)
		fprintf(stderr, "vmm_snapshot: %s\n", error.text);
	CHECK(rc == 0);
	return made;
}

static inline struct vmm_config clone_config(struct vmm_config config, struct snapshot from)
{
	config.kernel = config.command_line = NULL;
	config.snapshot_memory_fd = from.memory;
	config.snapshot_state_fd = from.state;
	return config;
}

static inline struct vmm *start_clone(struct vmm_config config, struct snapshot from)
{
	config = clone_config(config, from);
	return start(&config);
}

static inline void forget(struct snapshot snapshot)
{
	close(snapshot.memory);
	close(snapshot.state);
}

static inline double host_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline double tsc_hz(void)
{
	double began = host_seconds();
	uint64_t tsc = __rdtsc();

	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	return (double)(__rdtsc() - tsc) / (host_seconds() - began);
}

#endif
