// SPDX-License-Identifier: GPL-2.0-only
#include "vcpu_state.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "vm.h"

#define MSR_TSC 0x10
#define MSR_TSC_DEADLINE 0x6e0
#define REGION offsetof(struct kvm_xsave, extra) /* what KVM_GET_XSAVE gives; larger states need KVM_GET_XSAVE2 */

#define PART(field, what) \
	{ KVM_GET_##what, KVM_SET_##what, "KVM_GET_" #what, "KVM_SET_" #what, offsetof(struct vcpu_state, field) }

/*
 * In the order in which they are set: the modes of CPU and APIC decide what the others mean. MSRs come after
 * the LAPIC, as x2APIC and deadline mode are there; pending events after all that resets them.
 */
static const struct part {
	unsigned long get, set;
	const char *get_name, *set_name;
	size_t offset;
} parts[] = {
	PART(sregs, SREGS), PART(regs, REGS),		PART(xcrs, XCRS),
	PART(xsave, XSAVE), PART(debugregs, DEBUGREGS), PART(lapic, LAPIC),
}, last_parts[] = {
	PART(events, VCPU_EVENTS), PART(mp_state, MP_STATE),
};

enum { PARTS = sizeof(parts) / sizeof(parts[0]), LAST_PARTS = sizeof(last_parts) / sizeof(last_parts[0]) };

union msr_list {
	struct kvm_msr_list list;
	uint8_t bytes[sizeof(struct kvm_msr_list) + VCPU_MAX_MSRS * sizeof(uint32_t)];
};

union msr_table {
	struct kvm_msrs table;
	uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

static int transfer(const struct vcpu *vcpu, const struct part *table, size_t n, struct vcpu_state *state, bool save,
		    struct vmm_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = kvm_ioctl(vcpu->fd, save ? table[i].get : table[i].set, (uint8_t *)state + table[i].offset,
			       save ? table[i].get_name : table[i].set_name, err);
	return rc;
}

/* One at a time: KVM stops at the first that it refuses, and lists some that this CPU has not. */
static bool msr(const struct vcpu *vcpu, unsigned long request, struct kvm_msr_entry *entry)
{
	union msr_table one = { .table.nmsrs = 1 };

	memcpy(one.bytes + sizeof(one.table), entry, sizeof(*entry));
	if (ioctl(vcpu->fd, request, &one) != 1)
		return false;
	memcpy(entry, one.bytes + sizeof(one.table), sizeof(*entry));
	return true;
}

static int save_msrs(const struct vcpu *vcpu, struct vcpu_state *ret, struct vmm_error *err)
{
	union msr_list known = { .list.nmsrs = VCPU_MAX_MSRS };
	int rc = kvm_ioctl(vcpu->vm->kvm.dev, KVM_GET_MSR_INDEX_LIST, &known, "KVM_GET_MSR_INDEX_LIST", err);
	struct kvm_msr_entry tsc = { .index = MSR_TSC }, deadline = { .index = MSR_TSC_DEADLINE };

	ret->msr_count = 0;
	for (uint32_t i = 0; i < known.list.nmsrs && rc == 0; i++) {
		struct kvm_msr_entry entry = { .index = known.list.indices[i] };

		if (entry.index != MSR_TSC && entry.index != MSR_TSC_DEADLINE && msr(vcpu, KVM_GET_MSRS, &entry))
			ret->msrs[ret->msr_count++] = entry;
	}
	msr(vcpu, KVM_GET_MSRS, &deadline);
	if (rc == 0 && !msr(vcpu, KVM_GET_MSRS, &tsc))
		rc = error_set(err, ENOTSUP, "KVM_GET_MSRS: KVM refused the TSC");
	ret->tsc = tsc.data;
	ret->tsc_deadline = deadline.data;
	return rc;
}

/* One that KVM does not let us set is no loss as long as it has that value already. */
static int restore_msrs(const struct vcpu *vcpu, const struct vcpu_state *state, struct vmm_error *err)
{
	if (state->msr_count > VCPU_MAX_MSRS)
		return error_set(err, EINVAL, "a snapshot's state: %u MSRs", state->msr_count);
	for (uint32_t i = 0; i < state->msr_count; i++) {
		struct kvm_msr_entry entry = state->msrs[i], now = { .index = entry.index };

		if (msr(vcpu, KVM_SET_MSRS, &entry))
			continue;
		if (!msr(vcpu, KVM_GET_MSRS, &now) || now.data != state->msrs[i].data)
			return error_set(err, EINVAL, "KVM_SET_MSRS: KVM refused MSR %#x = %#llx", now.index,
					 (unsigned long long)state->msrs[i].data);
	}
	return 0;
}

static int tsc_offset(const struct vcpu *vcpu, unsigned long request, const char *name, uint64_t *value,
		      struct vmm_error *err)
{
	struct kvm_device_attr attribute = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)value,
	};

	return kvm_ioctl(vcpu->fd, request, &attribute, name, err);
}

/* An access that was served is only done when the vCPU enters the guest again (KVM_RUN, immediate_exit). */
static int finish_access(const struct vcpu *vcpu, struct vmm_error *err)
{
	int rc;

	vcpu->run->immediate_exit = 1;
	rc = ioctl(vcpu->fd, KVM_RUN, 0);
	vcpu->run->immediate_exit = 0;
	if (rc < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	return error_set(err, EAGAIN, "vCPU %u is in the middle of an access", vcpu->index);
}

int vcpu_state_save(struct vcpu *vcpu, struct vcpu_state *ret, struct vmm_error *err)
{
	int xsave = ioctl(vcpu->vm->kvm.vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	int rc = finish_access(vcpu, err);

	if (rc == 0 && xsave > (int)REGION)
		rc = error_set(err, ENOTSUP, "this CPU's XSAVE state has %d bytes, at most %zu can be saved", xsave, REGION);
	if (rc == 0)
		rc = transfer(vcpu, last_parts, LAST_PARTS, ret, true, err);
	if (rc == 0)
		rc = transfer(vcpu, parts, PARTS, ret, true, err);
	if (rc == 0)
		rc = save_msrs(vcpu, ret, err);
	return rc ? rc : tsc_offset(vcpu, KVM_GET_DEVICE_ATTR, "KVM_GET_DEVICE_ATTR(KVM_VCPU_TSC_OFFSET)",
				    &ret->tsc_offset, err);
}

/* The first one's TSC goes on where it stood; offsets that were equal stay equal, so that KVM knows them in step. */
static int restore_tsc(const struct vcpu *vcpu, struct vcpu_state *state, struct vcpu_state *first,
		       struct vmm_error *err)
{
	struct kvm_msr_entry deadline = { .index = MSR_TSC_DEADLINE, .data = state->tsc_deadline };
	uint64_t offset;
	int rc;

	if (state == first)
		first->tsc -= __rdtsc(); /* from here on: the offset that the first one gets */
	offset = first->tsc + (state->tsc_offset - first->tsc_offset);
	rc = tsc_offset(vcpu, KVM_SET_DEVICE_ATTR, "KVM_SET_DEVICE_ATTR(KVM_VCPU_TSC_OFFSET)", &offset, err);
	if (rc == 0 && deadline.data && !msr(vcpu, KVM_SET_MSRS, &deadline))
		rc = error_set(err, EINVAL, "KVM_SET_MSRS: KVM refused the TSC deadline");
	return rc;
}

int vcpu_state_restore(struct vcpu *vcpu, struct vcpu_state *state, struct vcpu_state *first, struct vmm_error *err)
{
	int rc = transfer(vcpu, parts, PARTS, state, false, err);

	if (rc == 0)
		rc = restore_msrs(vcpu, state, err);
	if (rc == 0)
		rc = transfer(vcpu, last_parts, LAST_PARTS, state, false, err);
	if (rc == 0)
		rc = restore_tsc(vcpu, state, first, err);
	if (rc == 0)
		ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0); /* tells the watchdogs of a guest that uses kvmclock */
	return rc;
}
