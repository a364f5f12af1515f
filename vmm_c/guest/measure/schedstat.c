// SPDX-License-Identifier: GPL-2.0-only
#include "measure/schedstat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktstr_proto.h"
#include "base/sysfile.h"

struct schedstat_cpus {
	bool present[KTSTR_MAX_CPUS];
	struct schedstat stat[KTSTR_MAX_CPUS];
};

static bool parse_number(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;

	while (*p == ' ')
		p++;
	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	*text = p;
	*ret = value;
	return true;
}

bool schedstat_parse_task(const char *text, struct schedstat *ret)
{
	struct schedstat stat;

	if (!parse_number(&text, &stat.run_ns) || !parse_number(&text, &stat.run_delay_ns) ||
	    !parse_number(&text, &stat.timeslices))
		return false;
	*ret = stat;
	return true;
}

bool schedstat_parse_cpu(const char *line, uint32_t *cpu, struct schedstat *ret)
{
	uint64_t field;

	if (strncmp(line, "cpu", 3) != 0)
		return false;
	line += 3;
	if (*line == ' ' || !parse_number(&line, &field) || field >= KTSTR_MAX_CPUS)
		return false;
	*cpu = (uint32_t)field;
	for (int i = 0; i < 6; i++)
		if (!parse_number(&line, &field))
			return false;
	return schedstat_parse_task(line, ret);
}

static bool read_task(const char *path, struct schedstat *ret)
{
	char text[128];

	return sysfile_read(path, text, sizeof(text)) > 0 && schedstat_parse_task(text, ret);
}

bool schedstat_read(int32_t tid, struct schedstat *ret)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", tid);
	return read_task(path, ret);
}

bool schedstat_read_self(struct schedstat *ret)
{
	return read_task("/proc/thread-self/schedstat", ret);
}

struct schedstat_cpus *schedstat_cpus_read(void)
{
	struct schedstat_cpus *cpus;
	char *text = sysfile_read_whole("/proc/schedstat");
	char *save = NULL;

	if (!text)
		return NULL;
	cpus = calloc(1, sizeof(*cpus));
	if (cpus)
		for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			struct schedstat stat;
			uint32_t cpu;

			if (schedstat_parse_cpu(line, &cpu, &stat)) {
				cpus->present[cpu] = true;
				cpus->stat[cpu] = stat;
			}
		}
	free(text);
	return cpus;
}

void schedstat_cpus_free(struct schedstat_cpus *cpus)
{
	free(cpus);
}

bool schedstat_cpus_delta(const struct schedstat_cpus *before, const struct schedstat_cpus *after,
			  uint32_t cpu, struct schedstat *ret)
{
	if (!before || !after || cpu >= KTSTR_MAX_CPUS || !before->present[cpu] || !after->present[cpu])
		return false;
	ret->run_ns = after->stat[cpu].run_ns - before->stat[cpu].run_ns;
	ret->run_delay_ns = after->stat[cpu].run_delay_ns - before->stat[cpu].run_delay_ns;
	ret->timeslices = after->stat[cpu].timeslices - before->stat[cpu].timeslices;
	return true;
}
