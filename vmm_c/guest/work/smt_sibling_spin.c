// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pair takes both threads of one core: the first chooses among the cores that its affinity lets it have, by its
 * number, so that pairs spread. There is no pause in the loop either (see spin).
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include "base/cpulist.h"
#include "base/sysfile.h"
#include "work/work.h"

struct shared {
	_Atomic uint32_t sibling; /* futex: the second's CPU plus 1, 0 before it is chosen */
};

/* Of the first CPU of a core that is allowed: the second. */
static bool sibling_of(uint32_t cpu, const cpu_set_t *allowed, uint32_t *ret)
{
	char path[80], text[CPULIST_BYTES];
	struct ktstr_cpumask siblings;
	uint32_t found[2], count = 0;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
	if (sysfile_read(path, text, sizeof(text)) <= 0 || cpulist_parse(text, &siblings) != 0)
		return false;
	for (uint32_t other = 0; other < KTSTR_MAX_CPUS && count < 2; other++)
		if (cpumask_test(&siblings, other) && CPU_ISSET(other, allowed))
			found[count++] = other;
	*ret = count == 2 ? found[1] : cpu;
	return count == 2 && found[0] == cpu;
}

/* The CPUs of the wanted one of those cores of which two are allowed. Gives how many there are. */
static uint32_t choose(const cpu_set_t *allowed, uint32_t wanted, uint32_t *first, uint32_t *second)
{
	uint32_t cores = 0, sibling;

	for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu++) {
		if (!CPU_ISSET(cpu, allowed) || !sibling_of(cpu, allowed, &sibling))
			continue;
		if (cores++ != wanted)
			continue;
		*first = cpu;
		*second = sibling;
	}
	return cores;
}

static bool pin(struct self *self, uint32_t cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one) == 0 || work_refuse(self->slot, REFUSED_SIBLINGS);
}

static bool lead(struct self *self)
{
	struct shared *shared = self->slot->shared;
	uint32_t pair = self->slot->report.index / 2, first, second, cores;
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return work_refuse(self->slot, REFUSED_SIBLINGS);
	cores = choose(&allowed, UINT32_MAX, &first, &second);
	if (!cores) {
		errno = ENODEV;
		return work_refuse(self->slot, REFUSED_SIBLINGS);
	}
	choose(&allowed, pair % cores, &first, &second);
	atomic_store(&shared->sibling, second + 1);
	wake(&shared->sibling, 1);
	return pin(self, first);
}

static bool begin(struct self *self)
{
	struct shared *shared = self->slot->shared;

	if (self->slot->place == 0)
		return lead(self);
	if (block_while(self, &shared->sibling, 0, NULL) == BLOCK_STOPPED)
		return false;
	return pin(self, atomic_load(&shared->sibling) - 1);
}

static bool iterate(struct self *self)
{
	spin(self, PIECE_UNITS);
	return true;
}

const struct work_ops work_smt_sibling_spin = { .begin = begin, .iterate = iterate };
