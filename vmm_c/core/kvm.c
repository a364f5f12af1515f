// SPDX-License-Identifier: GPL-2.0-only
#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Three pages of Intel's real-mode trick and the page after them; under the BIOS, in the hole. */
#define TSS_ADDRESS 0xfffbd000UL
#define IDENTITY_MAP_ADDRESS 0xfffbc000ULL

static const struct {
	int number;
	const char *name;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

int kvm_ioctl(int fd, unsigned long request, void *arg, const char *name, struct vmm_error *err)
{
	int rc = ioctl(fd, request, arg);

	return rc < 0 ? error_set(err, errno, "%s: %s", name, strerror(errno)) : rc;
}

static int open_device(struct vmm_error *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	const char *hint = "";

	if (fd >= 0)
		return fd;
	if (errno == EACCES || errno == EPERM)
		hint = "; add the user to the group that owns it";
	else if (errno == ENOENT || errno == ENODEV)
		hint = "; the KVM module is not loaded, or virtualization is off in the firmware";
	return error_set(err, errno, "open /dev/kvm: %s%s", strerror(errno), hint);
}

static int check_extension(const struct kvm *kvm, int number)
{
	return ioctl(kvm->dev, KVM_CHECK_EXTENSION, number);
}

static int check_capabilities(struct kvm *kvm, struct vmm_error *err)
{
	int version = ioctl(kvm->dev, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return error_set(err, ENOSYS, "KVM_GET_API_VERSION: found %d, expected %d", version, KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (check_extension(kvm, needed[i].number) <= 0)
			return error_set(err, ENOSYS, "this host's KVM lacks %s; a newer kernel has it", needed[i].name);
	kvm->run_bytes = ioctl(kvm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (kvm->run_bytes < (int)sizeof(struct kvm_run))
		return error_set(err, ENOSYS, "KVM_GET_VCPU_MMAP_SIZE: found %d bytes, expected at least %zu",
				 kvm->run_bytes, sizeof(struct kvm_run));
	kvm->max_cpus = (uint32_t)check_extension(kvm, KVM_CAP_MAX_VCPUS);
	kvm->max_cpu_id = (uint32_t)check_extension(kvm, KVM_CAP_MAX_VCPU_ID);
	return 0;
}

int kvm_open(struct kvm *kvm, struct vmm_error *err)
{
	*kvm = (struct kvm){ .dev = -1, .vm = -1 };
	kvm->dev = open_device(err);
	return kvm->dev < 0 ? kvm->dev : check_capabilities(kvm, err);
}

/* KVM gives up on a signal here, which is nobody's fault. */
static int create_vm_fd(const struct kvm *kvm, struct vmm_error *err)
{
	int fd;

	do
		fd = ioctl(kvm->dev, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	if (fd >= 0)
		return fd;
	return error_set(err, errno, "KVM_CREATE_VM: %s%s", strerror(errno),
			 errno == ENOMEM || errno == EMFILE || errno == ENFILE ? "; too many machines at once?" : "");
}

static int enable(const struct kvm *kvm, uint32_t cap, uint64_t arg, const char *name, struct vmm_error *err)
{
	struct kvm_enable_cap enable = { .cap = cap, .args = { arg } };

	return kvm_ioctl(kvm->vm, KVM_ENABLE_CAP, &enable, name, err);
}

/*
 * 32-bit ids in the ioctls' APIC state and MSI routes, and 0xff a CPU like others. Before the
 * first vCPU, as KVM sizes its map of APICs by then.
 */
static int enable_x2apic(const struct kvm *kvm, struct vmm_error *err)
{
	return enable(kvm, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
		      "KVM_ENABLE_CAP(KVM_CAP_X2APIC_API)", err);
}

static int create_chips(const struct kvm *kvm, struct vmm_error *err)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = IDENTITY_MAP_ADDRESS;
	int rc = kvm_ioctl(kvm->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity, "KVM_SET_IDENTITY_MAP_ADDR", err);

	rc = rc ?: kvm_ioctl(kvm->vm, KVM_SET_TSS_ADDR, (void *)TSS_ADDRESS, "KVM_SET_TSS_ADDR", err);
	rc = rc ?: kvm_ioctl(kvm->vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP", err);
	rc = rc ?: kvm_ioctl(kvm->vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2", err);
	return rc;
}

/* PAUSE first and alone: a KVM that refuses HLT would refuse both. */
static void tune(const struct kvm *kvm, const struct kvm_options *options, struct vmm_error *refused)
{
	if (options->keep_pause)
		enable(kvm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_PAUSE,
		       "KVM_ENABLE_CAP(KVM_CAP_X86_DISABLE_EXITS, PAUSE)", refused);
	if (options->keep_halt)
		enable(kvm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT,
		       "KVM_ENABLE_CAP(KVM_CAP_X86_DISABLE_EXITS, HLT)", refused);
	if (options->no_halt_poll && check_extension(kvm, KVM_CAP_HALT_POLL) > 0)
		enable(kvm, KVM_CAP_HALT_POLL, 0, "KVM_ENABLE_CAP(KVM_CAP_HALT_POLL)", refused);
}

int kvm_create_vm(struct kvm *kvm, const struct kvm_options *options, struct vmm_error *refused, struct vmm_error *err)
{
	int rc;

	if (options->last_apic_id >= kvm->max_cpu_id)
		return error_set(err, E2BIG, "topology: its last APIC id is %u, and this host's KVM takes ids below %u",
				 options->last_apic_id, kvm->max_cpu_id);
	kvm->vm = create_vm_fd(kvm, err);
	if (kvm->vm < 0)
		return kvm->vm;
	rc = create_chips(kvm, err);
	rc = rc ?: enable_x2apic(kvm, err);
	if (rc == 0)
		tune(kvm, options, refused);
	return rc;
}

void kvm_close(struct kvm *kvm)
{
	if (kvm->vm >= 0)
		close(kvm->vm);
	if (kvm->dev >= 0)
		close(kvm->dev);
	kvm->vm = kvm->dev = -1;
}

int kvm_add_memory(const struct kvm *kvm, const struct memory *memory, struct vmm_error *err)
{
	for (uint32_t i = 0; i < memory->count; i++) {
		struct kvm_userspace_memory_region region = {
			.slot = i,
			.guest_phys_addr = memory->ranges[i].gpa,
			.memory_size = memory->ranges[i].bytes,
			.userspace_addr = (uintptr_t)memory->ranges[i].host,
		};
		int rc = kvm_ioctl(kvm->vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION", err);

		if (rc)
			return rc;
	}
	return 0;
}

int kvm_supported_cpuid(const struct kvm *kvm, union kvm_cpuid_table *ret, struct vmm_error *err)
{
	ret->table.nent = KVM_MAX_CPUID;
	return kvm_ioctl(kvm->dev, KVM_GET_SUPPORTED_CPUID, ret, "KVM_GET_SUPPORTED_CPUID", err);
}
