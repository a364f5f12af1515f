// SPDX-License-Identifier: GPL-2.0-only
/* Everything KVM knows of a vCPU that stands still. */
#pragma once

#include "vcpu.h"

#define VCPU_MAX_MSRS 512
#define VCPU_XSAVE_BYTES 12288 /* with AMX it is 11,008 */

/* Laid out as struct kvm_msrs. */
struct vcpu_msrs {
	uint32_t count;
	uint32_t pad;
	struct kvm_msr_entry entries[VCPU_MAX_MSRS];
};

struct vcpu_state {
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_xcrs xcrs;
	uint8_t xsave[VCPU_XSAVE_BYTES]; /* struct kvm_xsave */
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct vcpu_msrs msrs; /* all but the TSC */
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
};

int vcpu_state_save(const struct vcpu *vcpu, struct vcpu_state *ret, struct vmm_error *err);
/* Of its TSC from the host's. */
int vcpu_tsc_offset(const struct vcpu *vcpu, uint64_t *ret, struct vmm_error *err);
/* On a vCPU with the same CPUID that never ran. */
int vcpu_state_restore(const struct vcpu *vcpu, struct vcpu_state *state, uint64_t tsc_offset, struct vmm_error *err);
