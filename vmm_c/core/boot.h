// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a boot loader leaves for Linux at its 64-bit entry: the zero page, the command line, page
 * tables and segments; and the registers that point at them.
 */
#pragma once

#include <linux/kvm.h>

#include "error.h"
#include "loader.h"
#include "memory.h"

#define BOOT_ACPI_BEGIN 0xe0000ULL /* the RSDP, then the other tables; Linux also searches here */
#define BOOT_ACPI_END 0x100000ULL

int boot_write(const struct memory *memory, const struct loaded_kernel *kernel, const struct loaded_initrd *initrd,
	       const char *command_line, struct vmm_error *err);
/* Exact values, whatever the CPU's reset left; x2apic also turns that mode on. */
void boot_set_sregs(struct kvm_sregs *sregs, bool x2apic);
struct kvm_regs boot_regs(const struct loaded_kernel *kernel);
