// SPDX-License-Identifier: GPL-2.0-only
/* One virtual CPU: its KVM file, its state at power-on, and the thread that runs it. */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "kvm.h"

struct vmm;

struct vcpu {
	struct vmm *vm;
	uint32_t index;
	uint32_t apic_id; /* and KVM's id */
	int fd;
	struct kvm_run *run; /* shared with KVM */
	pthread_t thread;
	/* Under the gate's lock. */
	pid_t tid; /* 0 while there is no thread */
	struct vmm_times times; /* at the thread's end */
};

int vcpu_create(struct vcpu *vcpu, struct vmm *vm, uint32_t index, struct vmm_error *err);
/* Safe after a vcpu_create that failed, and on zeroed memory with fd -1. */
void vcpu_destroy(struct vcpu *vcpu);
int vcpu_set_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid, struct vmm_error *err);
/*
 * FPU, MSRs, interrupt inputs of the local APIC; on the boot CPU, index 0, also the system registers
 * of a 64-bit boot. The others wait for its INIT, which resets theirs.
 */
int vcpu_power_on(struct vcpu *vcpu, bool x2apic, struct vmm_error *err);
int vcpu_set_boot(struct vcpu *vcpu, const struct kvm_regs *regs, struct vmm_error *err);
int vcpu_registers(const struct vcpu *vcpu, struct vmm_registers *ret, struct vmm_error *err);
/* What the host's scheduler gave the vCPU's thread so far; zeros with -errno when it does not say. */
int vcpu_times(const struct vcpu *vcpu, struct vmm_times *ret);

/* The signal that takes a vCPU's thread out of KVM_RUN. It is blocked in the thread, so it needs no handler. */
int vcpu_signal(void);
/* Run guest code until the machine ends: the body of the vCPU's thread. */
void vcpu_run(struct vcpu *vcpu);
