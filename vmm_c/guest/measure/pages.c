// SPDX-License-Identifier: GPL-2.0-only
/* On which nodes memory is: Documentation/filesystems/proc.rst, numa_maps. */
#include "measure/pages.h"

#include <stdlib.h>
#include <string.h>

#include "base/sysfile.h"

/* What mmap(2) shares without a file is one of shmem to the kernel (shmem_zero_setup of mm/shmem.c). */
#define SHARED " file=/dev/zero"

static void add_line(const char *at, const char *end, uint64_t by_node[KTSTR_MAX_NODES])
{
	while ((at = strstr(at, " N")) && at < end) {
		unsigned long node;
		char *rest;

		at += 2;
		if (*at < '0' || *at > '9')
			continue;
		node = strtoul(at, &rest, 10);
		if (*rest == '=' && node < KTSTR_MAX_NODES)
			by_node[node] += strtoull(rest + 1, NULL, 10);
	}
}

void pages_add(const char *numa_maps, uint64_t by_node[KTSTR_MAX_NODES])
{
	for (const char *line = numa_maps; *line;) {
		const char *end = line + strcspn(line, "\n");
		const char *name = strstr(line, SHARED);

		if (name && name < end)
			add_line(name, end, by_node);
		line = *end ? end + 1 : end;
	}
}

uint32_t pages_of_self(uint64_t by_node[KTSTR_MAX_NODES])
{
	char *text = sysfile_read_whole("/proc/self/numa_maps");
	uint32_t nodes = 0;

	if (!text)
		return 0;
	memset(by_node, 0, KTSTR_MAX_NODES * sizeof(by_node[0]));
	pages_add(text, by_node);
	free(text);
	for (uint32_t node = 0; node < KTSTR_MAX_NODES; node++)
		if (by_node[node])
			nodes = node + 1;
	return nodes;
}

bool pages_migrated(uint64_t *ret)
{
	static const char name[] = "\nnuma_pages_migrated ";
	char *text = sysfile_read_whole("/proc/vmstat");
	const char *at = text ? strstr(text, name) : NULL;

	if (at)
		*ret = strtoull(at + sizeof(name) - 1, NULL, 10);
	free(text);
	return at != NULL;
}
