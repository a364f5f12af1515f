// SPDX-License-Identifier: GPL-2.0-only
#include "base/cpulist.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool cpumask_test(const struct ktstr_cpumask *mask, uint32_t cpu)
{
	return cpu < KTSTR_MAX_CPUS && (mask->bits[cpu / 64] >> (cpu % 64) & 1);
}

void cpumask_set(struct ktstr_cpumask *mask, uint32_t cpu)
{
	if (cpu < KTSTR_MAX_CPUS)
		mask->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

bool cpumask_empty(const struct ktstr_cpumask *mask)
{
	return cpumask_count(mask) == 0;
}

bool cpumask_equal(const struct ktstr_cpumask *a, const struct ktstr_cpumask *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

uint32_t cpumask_count(const struct ktstr_cpumask *mask)
{
	uint32_t count = 0;

	for (size_t i = 0; i < KTSTR_CPUMASK_WORDS; i++)
		count += (uint32_t)__builtin_popcountll(mask->bits[i]);
	return count;
}

static bool parse_cpu(const char **text, uint32_t *ret)
{
	const char *p = *text;
	uint32_t cpu = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		cpu = cpu * 10 + (uint32_t)(*p - '0');
		if (cpu >= KTSTR_MAX_CPUS)
			return false;
	}
	*text = p;
	*ret = cpu;
	return true;
}

static bool parse_range(const char **text, struct ktstr_cpumask *mask)
{
	uint32_t first, last;

	if (!parse_cpu(text, &first))
		return false;
	last = first;
	if (**text == '-') {
		(*text)++;
		if (!parse_cpu(text, &last) || last < first)
			return false;
	}
	for (uint32_t cpu = first; cpu <= last; cpu++)
		cpumask_set(mask, cpu);
	return true;
}

int cpulist_parse(const char *text, struct ktstr_cpumask *ret)
{
	struct ktstr_cpumask mask = { 0 };

	if (*text != '\0' && *text != '\n')
		for (;;) {
			if (!parse_range(&text, &mask))
				return -EINVAL;
			if (*text != ',')
				break;
			text++;
		}
	if (*text == '\n')
		text++;
	if (*text != '\0')
		return -EINVAL;
	*ret = mask;
	return 0;
}

size_t cpulist_format(const struct ktstr_cpumask *mask, char *ret, size_t size)
{
	size_t used = 0;

	if (size == 0)
		return 0;
	ret[0] = '\0';
	for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu++) {
		uint32_t last = cpu;
		int n;

		if (!cpumask_test(mask, cpu))
			continue;
		while (cpumask_test(mask, last + 1))
			last++;
		if (last == cpu)
			n = snprintf(ret + used, size - used, "%s%u", used ? "," : "", cpu);
		else
			n = snprintf(ret + used, size - used, "%s%u-%u", used ? "," : "", cpu, last);
		if (n < 0 || (size_t)n >= size - used) {
			ret[0] = '\0';
			return 0;
		}
		used += (size_t)n;
		cpu = last;
	}
	return used;
}
