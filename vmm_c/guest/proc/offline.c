// SPDX-License-Identifier: GPL-2.0-only
#include "proc/offline.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpulist.h"
#include "base/sysfile.h"

#define CPU "/sys/devices/system/cpu/cpu"

static struct ktstr_cpumask offline;

void offline_note(const char *path)
{
	unsigned long cpu;
	char *rest;

	if (strncmp(path, CPU, sizeof(CPU) - 1) != 0 || path[sizeof(CPU) - 1] < '0' || path[sizeof(CPU) - 1] > '9')
		return;
	cpu = strtoul(path + sizeof(CPU) - 1, &rest, 10);
	if (strcmp(rest, "/online") != 0 || cpu >= KTSTR_MAX_CPUS)
		return;
	if (sysfile_read_number(path) == 0)
		cpumask_set(&offline, (uint32_t)cpu);
	else
		offline.bits[cpu / 64] &= ~(UINT64_C(1) << (cpu % 64));
}

struct ktstr_cpumask offline_without(const struct ktstr_cpumask *cpus)
{
	struct ktstr_cpumask left = *cpus;

	for (uint32_t i = 0; i < KTSTR_CPUMASK_WORDS; i++)
		left.bits[i] &= ~offline.bits[i];
	return left;
}
