// SPDX-License-Identifier: GPL-2.0-only
/* The header of a program, and where its tables are. */
#include "ops/header.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/crc32.h"

static const struct {
	const char *name;
	uint32_t bytes; /* of one entry */
	uint32_t most;
} tables[KTSTR_TABLES] = {
	[KTSTR_TABLE_STRINGS] = { "strings", 1, KTSTR_MAX_STRING_BYTES },
	[KTSTR_TABLE_MASKS] = { "masks", sizeof(struct ktstr_cpumask), KTSTR_MAX_MASKS },
	[KTSTR_TABLE_CGROUPS] = { "cgroups", sizeof(struct ktstr_cgroup), KTSTR_MAX_CGROUPS },
	[KTSTR_TABLE_WORKS] = { "works", sizeof(struct ktstr_work), KTSTR_MAX_WORKS },
	[KTSTR_TABLE_WORKERS] = { "workers", sizeof(struct ktstr_worker), KTSTR_MAX_WORKERS },
	[KTSTR_TABLE_PAYLOADS] = { "payloads", sizeof(struct ktstr_payload), KTSTR_MAX_PAYLOADS },
	[KTSTR_TABLE_OPS] = { "ops", sizeof(struct ktstr_op), KTSTR_MAX_OPS },
};

bool why_refuse(struct why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, why->size, format, args);
	va_end(args);
	return false;
}

static bool check_crc(const struct ktstr_program_header *header, size_t bytes, struct why *why)
{
	uint32_t crc = crc32_update(0, header, offsetof(struct ktstr_program_header, crc));

	crc = crc32_update(crc, header + 1, bytes - sizeof(*header));
	return crc == header->crc ||
	       why_refuse(why, "program checksum is %#x, expected %#x", crc, header->crc);
}

static bool check_header(const void *data, size_t bytes, struct why *why)
{
	const struct ktstr_program_header *header = data;

	if ((uintptr_t)data % 8)
		return why_refuse(why, "program is not aligned");
	if (bytes < sizeof(*header) || bytes > KTSTR_MAX_PROGRAM_BYTES)
		return why_refuse(why, "program of %zu bytes, %zu to %u", bytes, sizeof(*header), KTSTR_MAX_PROGRAM_BYTES);
	if (header->magic != KTSTR_PROGRAM_MAGIC)
		return why_refuse(why, "program magic is %#x, expected %#x", header->magic, KTSTR_PROGRAM_MAGIC);
	if (header->version != KTSTR_PROTO_VERSION || header->header_bytes != sizeof(*header))
		return why_refuse(why, "program version %u, this agent speaks %u", header->version, KTSTR_PROTO_VERSION);
	if (header->total_bytes != bytes)
		return why_refuse(why, "program of %zu bytes says it has %u", bytes, header->total_bytes);
	if (!check_crc(header, bytes, why))
		return false;
	if (header->flags & ~(uint32_t)(KTSTR_PROGRAM_CPU_CONTROLLER | KTSTR_PROGRAM_MEMORY_CONTROLLER |
					KTSTR_PROGRAM_IO_CONTROLLER | KTSTR_PROGRAM_PIDS_CONTROLLER))
		return why_refuse(why, "program flags %#x hold unknown ones", header->flags);
	if (header->deadline_ns > KTSTR_MAX_NS)
		return why_refuse(why, "program deadline of %llu ns, at most %llu", (unsigned long long)header->deadline_ns,
			      (unsigned long long)KTSTR_MAX_NS);
	return true;
}

bool header_open(const void *data, size_t bytes, struct program *ret, struct why *why)
{
	const struct ktstr_program_header *header = data;
	const uint8_t *at[KTSTR_TABLES];
	size_t used = sizeof(*header);

	if (!check_header(data, bytes, why))
		return false;
	for (uint32_t i = 0; i < KTSTR_TABLES; i++) {
		size_t size = (size_t)header->counts[i] * tables[i].bytes;

		if (header->counts[i] > tables[i].most)
			return why_refuse(why, "program of %u %s, at most %u", header->counts[i], tables[i].name,
				      tables[i].most);
		at[i] = (const uint8_t *)data + used;
		used += (size + 7) & ~(size_t)7;
		if (used > bytes)
			return why_refuse(why, "program of %zu bytes ends inside its %s", bytes, tables[i].name);
	}
	if (used != bytes)
		return why_refuse(why, "program has %zu bytes after its ops", bytes - used);
	*ret = (struct program){
		.header = header,
		.strings = (const void *)at[KTSTR_TABLE_STRINGS],
		.masks = (const void *)at[KTSTR_TABLE_MASKS],
		.cgroups = (const void *)at[KTSTR_TABLE_CGROUPS],
		.works = (const void *)at[KTSTR_TABLE_WORKS],
		.workers = (const void *)at[KTSTR_TABLE_WORKERS],
		.payloads = (const void *)at[KTSTR_TABLE_PAYLOADS],
		.ops = (const void *)at[KTSTR_TABLE_OPS],
	};
	if (header->counts[KTSTR_TABLE_STRINGS] && ret->strings[header->counts[KTSTR_TABLE_STRINGS] - 1])
		return why_refuse(why, "program strings do not end with a NUL");
	return true;
}
