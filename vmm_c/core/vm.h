// SPDX-License-Identifier: GPL-2.0-only
/*
 * The whole machine. Lock order: device_lock, then the gate's. device_lock is held around every
 * device; vCPUs take it for an exit, the supervisor for a doorbell.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "gate.h"
#include "i8042.h"
#include "irq.h"
#include "kvm.h"
#include "loader.h"
#include "memory.h"
#include "pci.h"
#include "power.h"
#include "serial.h"
#include "supervisor.h"
#include "topology.h"
#include "vcpu.h"
#include "virtio_console.h"
#include "wires.h"

/* Everything the guest can reach. */
struct devices {
	bool built;
	struct bus ports;
	struct bus mmio;
	struct sink console_out;
	struct sink channel_out;
	struct serial serial;
	struct i8042 i8042;
	struct power power;
	struct pci pci;
	struct virtio_console console;
};

/* Sentences about what was asked for and not had, a line each. */
struct warnings {
	uint32_t used;
	char text[1024];
};

struct vmm {
	struct kvm kvm;
	struct topology topology;
	struct memory memory;
	struct irq_routes irqs;
	struct wires wires;
	pthread_mutex_t device_lock;
	struct devices devices;
	struct gate gate;
	struct supervisor supervisor;
	pthread_t supervisor_thread;
	bool started;
	uint64_t deadline_ms;
	uint32_t flags; /* as configured */
	uint64_t cpuid_hash; /* of all vCPUs' */
	uint32_t cpus;
	uint32_t threads; /* how many vCPUs have one */
	struct vcpu *vcpus;
	int32_t *pin; /* for each vCPU, or NULL */
	uint32_t fifo_priority;
	struct warnings warnings;
};

void vm_warn(struct vmm *vm, const struct vmm_error *err);
/* Note why the machine ends and wake the supervisor; the first reason counts. */
__attribute__((format(printf, 5, 6))) void vm_end(struct vmm *vm, enum vmm_reason reason, int32_t code, int32_t cpu,
						  const char *format, ...);
/* devices.c: build and connect them all, or none. */
int devices_init(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err);
void devices_deinit(struct vmm *vm);
/* threads.c: vmm_start, vmm_wait and what is between them. After the end no thread is left. */
void vm_end_threads(struct vmm *vm);

/*
 * snapshot.c: a machine that stands still as two files, and another that goes on from them. The state file
 * is one struct saved_machine and a struct vcpu_state for each vCPU, as this build lays them out.
 */
/* FNV-1a, eight bytes at a time; of more than one piece when seed is the last result, 0 at first. */
uint64_t snapshot_hash(uint64_t seed, const void *data, size_t bytes);
/* Is the memory file to be mapped, rather than read into memory of the machine's own? */
bool snapshot_shares_memory(const struct vmm_config *config);
/* Fill memory that is still zero. */
int snapshot_read_memory(const struct memory *memory, int fd, struct vmm_error *err);
/* Have a machine that was made from the same configuration go on where the saved one stood; memory is there. */
int snapshot_restore(struct vmm *vm, int state_fd, struct vmm_error *err);
