// SPDX-License-Identifier: GPL-2.0-only
/* Everything KVM knows of a vCPU that stands still. */
#ifndef KTSTR_VCPU_STATE_H
#define KTSTR_VCPU_STATE_H

#include "vcpu.h"

#define VCPU_MAX_MSRS 512

struct vcpu_state {
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_regs regs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	uint64_t tsc; /* of the guest, when it was saved */
	uint64_t tsc_offset; /* from the host's */
	uint64_t tsc_deadline;
	uint32_t msr_count;
	struct kvm_msr_entry msrs[VCPU_MAX_MSRS];
};

/* The machine is paused. -EAGAIN for one in the middle of an access; -ENOTSUP for what KVM cannot give. */
int vcpu_state_save(struct vcpu *vcpu, struct vcpu_state *ret, struct vmm_error *err);
/* On a vCPU with the same CPUID that never ran. The TSCs of all keep their distances to that of first. */
int vcpu_state_restore(struct vcpu *vcpu, struct vcpu_state *state, struct vcpu_state *first, struct vmm_error *err);

#endif
