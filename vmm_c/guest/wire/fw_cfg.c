// SPDX-License-Identifier: GPL-2.0-only
#include "wire/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>

#define SELECTOR 0x510
#define DATA 0x511
#define FILE_DIRECTORY 0x19
#define MAX_FILES 4096

/* One file, as the directory has it: big endian. */
struct entry {
	uint32_t size;
	uint16_t select;
	uint16_t reserved;
	char name[56];
};

bool fw_cfg_open(char *why, size_t why_size)
{
	if (iopl(3) == 0)
		return true;
	snprintf(why, why_size, "this kernel lets no process use I/O ports: iopl: %s%s", strerror(errno),
		 errno == ENOSYS ? " (CONFIG_X86_IOPL_IOPERM)" : "");
	return false;
}

void fw_cfg_close(void)
{
	iopl(0);
}

static void pull(void *to, size_t bytes)
{
	insb(DATA, to, bytes);
	__asm__ volatile("" ::: "memory"); /* the C library's insb does not say that it writes */
}

static bool find(const char *name, struct entry *ret)
{
	uint32_t count;

	outw(FILE_DIRECTORY, SELECTOR);
	pull(&count, sizeof(count));
	count = be32toh(count);
	for (uint32_t i = 0; i < count && i < MAX_FILES; i++) {
		pull(ret, sizeof(*ret));
		if (strncmp(ret->name, name, sizeof(ret->name)) == 0)
			return true;
	}
	return false;
}

void *fw_cfg_fetch(const char *name, size_t most, size_t *bytes, char *why, size_t why_size)
{
	struct entry entry = { 0 };
	uint8_t *data;

	if (!find(name, &entry)) {
		snprintf(why, why_size, "no file %s", name);
		return NULL;
	}
	*bytes = be32toh(entry.size);
	if (*bytes > most) {
		snprintf(why, why_size, "%s of %zu bytes, at most %zu", name, *bytes, most);
		return NULL;
	}
	data = malloc(*bytes + 1);
	if (!data) {
		snprintf(why, why_size, "no memory for %zu bytes", *bytes);
		return NULL;
	}
	outw(be16toh(entry.select), SELECTOR);
	pull(data, *bytes);
	return data;
}
