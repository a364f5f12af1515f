// SPDX-License-Identifier: GPL-2.0-only
/* Puts one ACPI table behind the other. What does not fit is dropped and remembered. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi_layouts.h"

#define ACPI_OEM_ID "KTSTR " /* 6 bytes */

struct acpi_writer {
	uint64_t gpa; /* where the guest will find ret */
	uint8_t *ret;
	size_t size;
	size_t used;
	bool full;
};

/* Without data: zeros. */
void acpi_put(struct acpi_writer *w, const void *data, size_t bytes);
void acpi_align(struct acpi_writer *w, size_t to);
/* Length and checksum are left to acpi_end. */
struct acpi_header acpi_header(const char *signature, uint8_t revision);
/* Put what the next table begins with; gives where that is, as an offset. */
size_t acpi_begin(struct acpi_writer *w, const void *data, size_t bytes);
/* All put since is the table's. Gives its address. */
uint64_t acpi_end(struct acpi_writer *w, size_t table);
/* What makes bytes add up to 0 modulo 256. */
uint8_t acpi_checksum(const void *data, size_t count);
