// SPDX-License-Identifier: GPL-2.0-only
/* Which of KVM's answers a guest gets, and as what: all but those that cpuid.c gives itself, or would be wrong. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

/* Does this entry of KVM_GET_SUPPORTED_CPUID reach the guest? Then *ret is what it becomes. */
bool cpuid_offer(const struct kvm_cpuid2 *supported, uint32_t number, bool amd, struct kvm_cpuid_entry2 *ret);
