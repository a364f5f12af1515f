// SPDX-License-Identifier: GPL-2.0-only
/* The host's KVM: opened, checked for what a machine needs, and asked with errors that name the ioctl. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "memory.h"

#define KVM_MAX_CPUID 256

struct kvm {
	int dev; /* /dev/kvm */
	int vm;
	int run_bytes; /* of the mapping that each vCPU shares with us */
	uint32_t max_cpus;
	uint32_t max_cpu_id; /* first id that is too large */
};

/* KVM's answers for KVM_GET_SUPPORTED_CPUID, laid out as the ioctl wants them. */
union kvm_cpuid_table {
	struct kvm_cpuid2 table;
	uint8_t bytes[sizeof(struct kvm_cpuid2) + KVM_MAX_CPUID * sizeof(struct kvm_cpuid_entry2)];
};

/* What is asked of KVM beyond a plain PC. */
struct kvm_options {
	uint32_t last_apic_id;
	bool keep_pause, keep_halt; /* exits for these instructions are turned off */
	bool no_halt_poll;
};

/* An ioctl that gives its result, or -errno with "name: reason". */
int kvm_ioctl(int fd, unsigned long request, void *arg, const char *name, struct vmm_error *err);
int kvm_open(struct kvm *kvm, struct vmm_error *err);
/* An empty PC with interrupt controllers and PIT. Options the host refuses are named in *refused, a line. */
int kvm_create_vm(struct kvm *kvm, const struct kvm_options *options, struct vmm_error *refused, struct vmm_error *err);
/* Safe after a kvm_open that failed. */
void kvm_close(struct kvm *kvm);
int kvm_add_memory(const struct kvm *kvm, const struct memory *memory, struct vmm_error *err);
int kvm_supported_cpuid(const struct kvm *kvm, union kvm_cpuid_table *ret, struct vmm_error *err);
/* Is id one that needs x2APIC mode, as 255 is the broadcast of xAPIC? */
static inline bool kvm_needs_x2apic(uint32_t last_apic_id)
{
	return last_apic_id > 254;
}
