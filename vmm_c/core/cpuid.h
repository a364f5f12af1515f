// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest CPU says about itself. Vendor, family, caches and topology are the machine's own, the
 * same on every host; features are those that KVM offers.
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "topology.h"

enum cpu_vendor { CPU_INTEL, CPU_AMD };

/*
 * Fill ret, which has room for capacity entries, for KVM_SET_CPUID2 of one vCPU. supported is the
 * answer of KVM_GET_SUPPORTED_CPUID. realtime tells the guest that its CPUs are never taken away.
 * -EINVAL when there is no such CPU, -E2BIG when capacity is too small.
 */
int cpuid_build(const struct topology *topology, enum cpu_vendor vendor, uint32_t cpu, bool realtime,
		const struct kvm_cpuid2 *supported, struct kvm_cpuid2 *ret, uint32_t capacity, struct vmm_error *err);
