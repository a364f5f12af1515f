// SPDX-License-Identifier: GPL-2.0-only
/* What firmware and CPUs tell a guest about its machine: ACPI 6.4 and CPUID. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "memory.h"
#include "topology.h"

#define ACPI_SCI 9 /* the interrupt of the power registers */

/*
 * Write the firmware tables (CPUs, memory, distances, PCI bus 0, reset and power off) for physical address
 * gpa into ret, the RSDP first; *used says how many bytes they take, at most 48 KiB. They belong where the
 * guest's kernel has no RAM of its own. -E2BIG when size is too small, -EINVAL when gpa is not a multiple of
 * 64 below 4 GiB - size.
 */
int acpi_build(const struct topology *topology, const struct memory *memory, uint64_t gpa, uint8_t *ret, size_t size,
	       size_t *used, struct vmm_error *err);

enum cpu_vendor { CPU_INTEL, CPU_AMD };

/*
 * What a guest CPU says about itself: vendor, family, caches and topology are the machine's own, the same
 * on every host; features are those that KVM offers. Fill ret, which has room for capacity entries, for
 * KVM_SET_CPUID2 of one vCPU. supported is the answer of KVM_GET_SUPPORTED_CPUID. realtime tells the guest
 * that its CPUs are never taken away. -EINVAL when there is no such CPU, -E2BIG when capacity is too small.
 */
int cpuid_build(const struct topology *topology, enum cpu_vendor vendor, uint32_t cpu, bool realtime,
		const struct kvm_cpuid2 *supported, struct kvm_cpuid2 *ret, uint32_t capacity, struct vmm_error *err);
