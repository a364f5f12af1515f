// SPDX-License-Identifier: GPL-2.0-only
#include "vcpu.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot.h"

#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEFAULT_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK 0x806

#define LAPIC_LVT0 0x350
#define LAPIC_LVT1 0x360
#define LVT_NMI 0x400U
#define LVT_EXTINT 0x700U
#define LVT_MASKED 0x10000U

/*
 * One that neither kernel nor libraries send, so that what is sent to the whole process is never taken by a vCPU. It is
 * no real-time signal: of those the kernel queues each, and at RLIMIT_SIGPENDING drops it.
 */
int vcpu_signal(void)
{
	return SIGSTKFLT;
}

/* While KVM_RUN runs only our signal is let in: KVM then returns EINTR and leaves it pending. */
static int set_signal_mask(struct vcpu *vcpu, struct vmm_error *err)
{
	uint64_t blocked = ~(1ULL << (vcpu_signal() - 1)); /* the kernel's sigset_t */
	uint32_t mask[] = { sizeof(blocked), (uint32_t)blocked, (uint32_t)(blocked >> 32) }; /* struct kvm_signal_mask */

	return kvm_ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, mask, "KVM_SET_SIGNAL_MASK", err);
}

static int map_run(struct vcpu *vcpu, struct vmm_error *err)
{
	void *run = mmap(NULL, (size_t)vcpu->kvm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);

	if (run == MAP_FAILED)
		return error_set(err, errno, "mmap of vCPU %u: %s", vcpu->index, strerror(errno));
	vcpu->run = run;
	return 0;
}

int vcpu_create(struct vcpu *vcpu, const struct kvm *kvm, uint32_t index, uint32_t apic_id, struct vmm_error *err)
{
	int rc;

	*vcpu = (struct vcpu){ .kvm = kvm, .index = index, .apic_id = apic_id };
	vcpu->fd = kvm_ioctl(kvm->vm, KVM_CREATE_VCPU, (void *)(uintptr_t)apic_id, "KVM_CREATE_VCPU", err);
	if (vcpu->fd < 0)
		return vcpu->fd;
	rc = map_run(vcpu, err);
	return rc ? rc : set_signal_mask(vcpu, err);
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, (size_t)vcpu->kvm->run_bytes);
	vcpu->run = NULL;
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	vcpu->fd = -1;
}

int vcpu_set_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid, struct vmm_error *err)
{
	return kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2", err);
}

/* What firmware sets on every CPU and KVM's reset does not; Linux compares the CPUs. */
static int set_msrs(struct vcpu *vcpu, struct vmm_error *err)
{
	static const struct kvm_msr_entry values[] = {
		{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
		{ .index = MSR_MTRR_DEFAULT_TYPE, .data = MTRR_ENABLED_WRITE_BACK },
	};
	enum { COUNT = sizeof(values) / sizeof(values[0]) };
	union {
		struct kvm_msrs table;
		uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(values)];
	} msrs = { .table.nmsrs = COUNT };
	int done;

	memcpy(msrs.bytes + sizeof(msrs.table), values, sizeof(values));
	done = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msrs, "KVM_SET_MSRS", err);
	if (done < 0)
		return done;
	if (done < COUNT)
		return error_set(err, EIO, "KVM_SET_MSRS: KVM refused MSR %#x = %#llx", values[done].index,
				 (unsigned long long)values[done].data);
	return 0;
}

static int set_fpu(struct vcpu *vcpu, struct vmm_error *err)
{
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };

	return kvm_ioctl(vcpu->fd, KVM_SET_FPU, &fpu, "KVM_SET_FPU", err);
}

/* On a PC the PICs' output reaches the boot CPU by LINT0, and NMIs reach all by LINT1. */
static int set_lapic(struct vcpu *vcpu, struct vmm_error *err)
{
	uint32_t lvt0 = vcpu->index == 0 ? LVT_EXTINT : LVT_MASKED;
	uint32_t lvt1 = LVT_NMI;
	struct kvm_lapic_state lapic;
	int rc = kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC", err);

	if (rc)
		return rc;
	memcpy(lapic.regs + LAPIC_LVT0, &lvt0, sizeof(lvt0));
	memcpy(lapic.regs + LAPIC_LVT1, &lvt1, sizeof(lvt1));
	return kvm_ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC", err);
}

int vcpu_power_on(struct vcpu *vcpu, bool x2apic, struct vmm_error *err)
{
	struct kvm_sregs sregs;
	int rc = set_msrs(vcpu, err);

	rc = rc ?: set_fpu(vcpu, err);
	if (rc == 0 && vcpu->index == 0) {
		rc = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS", err);
		if (rc)
			return rc;
		boot_set_sregs(&sregs, x2apic);
		rc = kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS", err);
	}
	return rc ? rc : set_lapic(vcpu, err);
}

int vcpu_set_boot(struct vcpu *vcpu, const struct kvm_regs *regs, struct vmm_error *err)
{
	struct kvm_regs copy = *regs;

	return kvm_ioctl(vcpu->fd, KVM_SET_REGS, &copy, "KVM_SET_REGS", err);
}

int vcpu_registers(const struct vcpu *vcpu, struct vmm_registers *ret, struct vmm_error *err)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	int rc = kvm_ioctl(vcpu->fd, KVM_GET_REGS, &r, "KVM_GET_REGS", err);

	rc = rc ?: kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &s, "KVM_GET_SREGS", err);
	if (rc)
		return rc;
	*ret = (struct vmm_registers){
		.rax = r.rax, .rbx = r.rbx, .rcx = r.rcx, .rdx = r.rdx, .rsi = r.rsi, .rdi = r.rdi, .rsp = r.rsp,
		.rbp = r.rbp, .r8 = r.r8, .r9 = r.r9, .r10 = r.r10, .r11 = r.r11, .r12 = r.r12, .r13 = r.r13,
		.r14 = r.r14, .r15 = r.r15, .rip = r.rip, .rflags = r.rflags, .cr0 = s.cr0, .cr2 = s.cr2,
		.cr3 = s.cr3, .cr4 = s.cr4, .cr8 = s.cr8, .efer = s.efer, .apic_base = s.apic_base,
		.fs_base = s.fs.base, .gs_base = s.gs.base, .cs = s.cs.selector, .ss = s.ss.selector,
	};
	return 0;
}
