// SPDX-License-Identifier: GPL-2.0-only
/* The firmware tables (ACPI 6.4): CPUs, memory, distances, PCI bus 0, reset and power off. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "memory.h"
#include "topology.h"

#define ACPI_SCI 9 /* the interrupt of the power registers */

/*
 * Write the tables for physical address gpa into ret, the RSDP first; *used says how many bytes they
 * take, at most 48 KiB. They belong where the guest's kernel has no RAM of its own. -E2BIG when size
 * is too small, -EINVAL when gpa is not a multiple of 64 below 4 GiB - size.
 */
int acpi_build(const struct topology *topology, const struct memory *memory, uint64_t gpa, uint8_t *ret, size_t size,
	       size_t *used, struct vmm_error *err);
