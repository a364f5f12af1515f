// SPDX-License-Identifier: GPL-2.0-only
/*
 * The whole machine. Lock order: device_lock, then the gate's. device_lock is held around every
 * device; vCPUs take it for an exit, the supervisor for a doorbell.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "devices.h"
#include "gate.h"
#include "irq.h"
#include "kvm.h"
#include "memory.h"
#include "supervisor.h"
#include "topology.h"
#include "vcpu.h"
#include "wires.h"

/* Sentences about what was asked for and not had, a line each. */
struct warnings {
	uint32_t used;
	char text[1024];
};

/* A vCPU and the thread that runs it. */
struct vcpu_thread {
	struct vmm *vm;
	struct vcpu vcpu;
	pthread_t thread;
	/* Under the gate's lock. */
	pid_t tid; /* 0 while there is no thread */
	struct vmm_times times; /* at the thread's end */
};

/* One moment in a guest's kvmclock and in its TSC. */
struct clocks {
	uint64_t nanoseconds;
	uint64_t tsc;
};

struct vmm {
	struct kvm kvm;
	struct clocks origin; /* from where they go on together */
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
	struct vcpu_thread *vcpus;
	int32_t *pin; /* for each vCPU, or NULL */
	uint32_t fifo_priority;
	struct warnings warnings;
};

/* How the machine's devices reach its KVM, its supervisor and its end. */
void vm_connect_devices(struct vmm *vm);
/* Have the supervisor write what readers were not ready for; before it runs. */
int vm_watch_output(struct vmm *vm, struct vmm_error *err);
void vm_warn(struct vmm *vm, const struct vmm_error *err);
/* Note why the machine ends and wake the supervisor; the first reason counts. */
__attribute__((format(printf, 5, 6))) void vm_end(struct vmm *vm, enum vmm_reason reason, int32_t code, int32_t cpu,
						  const char *format, ...);
