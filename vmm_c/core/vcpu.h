// SPDX-License-Identifier: GPL-2.0-only
/* One virtual CPU: its KVM file and its state at power-on. */
#pragma once

#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "kvm.h"

struct vcpu {
	const struct kvm *kvm;
	uint32_t index;
	uint32_t apic_id; /* and KVM's id */
	int fd;
	struct kvm_run *run; /* shared with KVM */
	atomic_bool in_guest; /* only then does anybody have to kick it */
};

int vcpu_create(struct vcpu *vcpu, const struct kvm *kvm, uint32_t index, uint32_t apic_id, struct vmm_error *err);
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

/* The signal that takes a vCPU's thread out of KVM_RUN. It is blocked in the thread, so it needs no handler. */
int vcpu_signal(void);
