// SPDX-License-Identifier: GPL-2.0-only
#include "vcpu_state.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_TSC 0x10
#define MSR_TSC_DEADLINE 0x6e0
#define HYPERV_FIRST 0x40000000U /* MSRs of an interface that no guest of ours is shown */
#define HYPERV_LAST 0x4000ffffU

_Static_assert(offsetof(struct vcpu_msrs, entries) == sizeof(struct kvm_msrs), "laid out as the ioctl's");

#define PART(field, what) \
	{ KVM_GET_##what, KVM_SET_##what, "KVM_GET_" #what, "KVM_SET_" #what, offsetof(struct vcpu_state, field) }

/*
 * In the order in which they are set: the modes of CPU and APIC decide what the others mean, so MSRs come
 * after the LAPIC; pending events after what resets them; last, whether it runs. They are read backwards,
 * as KVM_GET_MP_STATE takes an INIT or SIPI that waits, which changes registers.
 */
static const struct part {
	unsigned long get, set;
	const char *get_name, *set_name;
	size_t offset;
} parts[] = {
	PART(sregs, SREGS), PART(regs, REGS), PART(xcrs, XCRS),		 PART(xsave, XSAVE),	   PART(debugregs, DEBUGREGS),
	PART(lapic, LAPIC), PART(msrs, MSRS), PART(events, VCPU_EVENTS), PART(mp_state, MP_STATE),
};

enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

/* MTRRs, which KVM does not list. */
static const struct msr_range {
	uint32_t first, count;
} unlisted[] = { { 0x200, 16 }, { 0x250, 1 }, { 0x258, 2 }, { 0x268, 8 }, { 0x2ff, 1 } };

struct msr_list {
	uint32_t count;
	uint32_t indices[VCPU_MAX_MSRS];
};

/* One at a time: KVM stops at the first that it refuses, and lists some that this CPU has not. */
static void add_msr(const struct vcpu *vcpu, struct vcpu_msrs *msrs, uint32_t index)
{
	struct {
		uint32_t count, pad;
		struct kvm_msr_entry entry;
	} one = { .count = 1, .entry.index = index };

	if (msrs->count < VCPU_MAX_MSRS && ioctl(vcpu->fd, KVM_GET_MSRS, &one) == 1)
		msrs->entries[msrs->count++] = one.entry;
}

/* The deadline last: it means something in the LAPIC's deadline mode, and against the TSC. */
static int get_msrs(const struct vcpu *vcpu, struct vcpu_msrs *ret, struct vmm_error *err)
{
	struct msr_list known = { .count = VCPU_MAX_MSRS };
	int rc = kvm_ioctl(vcpu->kvm->dev, KVM_GET_MSR_INDEX_LIST, &known, "KVM_GET_MSR_INDEX_LIST", err);

	if (rc)
		return rc;
	ret->count = 0;
	for (uint32_t i = 0; i < known.count; i++) {
		uint32_t index = known.indices[i];

		if (index != MSR_TSC && index != MSR_TSC_DEADLINE && (index < HYPERV_FIRST || index > HYPERV_LAST))
			add_msr(vcpu, ret, index);
	}
	for (size_t i = 0; i < sizeof(unlisted) / sizeof(unlisted[0]); i++)
		for (uint32_t n = 0; n < unlisted[i].count; n++)
			add_msr(vcpu, ret, unlisted[i].first + n);
	add_msr(vcpu, ret, MSR_TSC_DEADLINE);
	return 0;
}

/* One that KVM does not let us set is no loss as long as it has that value already. */
static int check_refused(const struct vcpu *vcpu, const struct kvm_msr_entry *wanted, struct vmm_error *err)
{
	struct vcpu_msrs now = { 0 };

	add_msr(vcpu, &now, wanted->index);
	if (now.count && now.entries[0].data == wanted->data)
		return 0;
	return error_set(err, EINVAL, "KVM_SET_MSRS: KVM refused MSR %#x = %#llx", wanted->index,
			 (unsigned long long)wanted->data);
}

static int set_msrs(const struct vcpu *vcpu, struct vcpu_msrs *msrs, struct vmm_error *err)
{
	while (msrs->count) {
		int done = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, msrs, "KVM_SET_MSRS", err);

		if (done < 0)
			return done;
		if ((uint32_t)done < msrs->count && check_refused(vcpu, &msrs->entries[done++], err))
			return -err->code;
		msrs->count -= (uint32_t)done;
		memmove(msrs->entries, msrs->entries + done, msrs->count * sizeof(msrs->entries[0]));
	}
	return 0;
}

static int move_tsc(const struct vcpu *vcpu, unsigned long request, const char *name, uint64_t *value,
		    struct vmm_error *err)
{
	struct kvm_device_attr attribute = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)value,
	};

	return kvm_ioctl(vcpu->fd, request, &attribute, name, err);
}

/* KVM writes and reads as many bytes of XSAVE state as it says; those of the plain ioctl where it says nothing. */
static int xsave_bytes(const struct vcpu *vcpu, struct vmm_error *err)
{
	int bytes = ioctl(vcpu->kvm->vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	if (bytes > VCPU_XSAVE_BYTES)
		return error_set(err, ENOTSUP, "this CPU's XSAVE state has %d bytes, at most %d can be saved", bytes,
				 VCPU_XSAVE_BYTES);
	return bytes;
}

int vcpu_state_save(const struct vcpu *vcpu, struct vcpu_state *ret, struct vmm_error *err)
{
	int xsave = xsave_bytes(vcpu, err), rc = xsave < 0 ? xsave : 0;

	for (int i = PARTS - 1; i >= 0 && rc == 0; i--) {
		const struct part *part = &parts[i];
		unsigned long request = part->get == KVM_GET_XSAVE && xsave > 0 ? KVM_GET_XSAVE2 : part->get;

		rc = request == KVM_GET_MSRS ? get_msrs(vcpu, &ret->msrs, err) :
					       kvm_ioctl(vcpu->fd, request, (uint8_t *)ret + part->offset, part->get_name, err);
	}
	return rc;
}

int vcpu_tsc_offset(const struct vcpu *vcpu, uint64_t *ret, struct vmm_error *err)
{
	return move_tsc(vcpu, KVM_GET_DEVICE_ATTR, "KVM_GET_DEVICE_ATTR(KVM_VCPU_TSC_OFFSET)", ret, err);
}

int vcpu_state_restore(const struct vcpu *vcpu, struct vcpu_state *state, uint64_t tsc_offset, struct vmm_error *err)
{
	int rc = xsave_bytes(vcpu, err);

	if (rc >= 0)
		rc = move_tsc(vcpu, KVM_SET_DEVICE_ATTR, "KVM_SET_DEVICE_ATTR(KVM_VCPU_TSC_OFFSET)", &tsc_offset, err);
	for (uint32_t i = 0; i < PARTS && rc == 0; i++) {
		const struct part *part = &parts[i];

		rc = part->set == KVM_SET_MSRS ? set_msrs(vcpu, &state->msrs, err) :
						 kvm_ioctl(vcpu->fd, part->set, (uint8_t *)state + part->offset, part->set_name, err);
	}
	return rc;
}
