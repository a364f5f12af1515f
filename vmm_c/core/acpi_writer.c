// SPDX-License-Identifier: GPL-2.0-only
#include "acpi_writer.h"

#include <string.h>

/* The only place that puts, so the only check of size. */
void acpi_put(struct acpi_writer *w, const void *data, size_t bytes)
{
	if (w->full || bytes > w->size - w->used) {
		w->full = true;
		return;
	}
	if (data)
		memcpy(w->ret + w->used, data, bytes);
	else
		memset(w->ret + w->used, 0, bytes);
	w->used += bytes;
}

void acpi_align(struct acpi_writer *w, size_t to)
{
	acpi_put(w, NULL, (to - w->used % to) % to);
}

struct acpi_header acpi_header(const char *signature, uint8_t revision)
{
	struct acpi_header header = { .revision = revision, .oem_revision = 1, .creator_revision = 1 };

	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(header.oem_id, ACPI_OEM_ID, sizeof(header.oem_id));
	memcpy(header.oem_table_id, "KTSTRVM ", sizeof(header.oem_table_id));
	memcpy(header.creator_id, "KTST", sizeof(header.creator_id));
	return header;
}

size_t acpi_begin(struct acpi_writer *w, const void *data, size_t bytes)
{
	size_t table;

	acpi_align(w, 16);
	table = w->used;
	acpi_put(w, data, bytes);
	return table;
}

uint64_t acpi_end(struct acpi_writer *w, size_t table)
{
	struct acpi_header *header;

	if (w->full)
		return 0;
	header = (struct acpi_header *)(w->ret + table);
	header->length = (uint32_t)(w->used - table);
	header->checksum = acpi_checksum(header, header->length);
	return w->gpa + table;
}

uint8_t acpi_checksum(const void *data, size_t count)
{
	const uint8_t *bytes = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += bytes[i];
	return (uint8_t)-sum;
}
