// SPDX-License-Identifier: GPL-2.0-only
/*
 * Partitions of CPUs. The scenario's cgroup is the root of none, so one below it is what cgroup-v2.rst calls remote:
 * it gets CPUs that every cgroup from the top to it lists in cpuset.cpus.exclusive (since Linux 6.7).
 */
#include "proc/partition.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cpulist.h"
#include "base/sysfile.h"
#include "proc/cgroup_tree.h"
#include "wire/errors.h"

#define TOP "/sys/fs/cgroup/"

/* beside: those that it lists already, for another partition in it. A kernel without the file has none such. */
static bool list_exclusive(const char *dir, const char *cpus, bool beside)
{
	char path[CGROUP_DIR_BYTES + 32], listed[CPULIST_BYTES], text[2 * CPULIST_BYTES + 2];
	ssize_t length;
	int error;

	snprintf(path, sizeof(path), "%s/cpuset.cpus.exclusive", dir);
	length = sysfile_read(path, listed, sizeof(listed));
	if (length == -ENOENT)
		return true;
	snprintf(text, sizeof(text), "%s%s%s", beside && length > 0 ? listed : "", beside && length > 0 ? "," : "",
		 cpus);
	error = sysfile_write(path, text);
	if (error)
		run_error("cannot write %s to %s: %s", text, path, strerror(-error));
	return error == 0;
}

static bool claim(const char *dir, const struct ktstr_cpumask *cpus)
{
	char above[CGROUP_DIR_BYTES], list[CPULIST_BYTES];

	cpulist_format(cpus, list, sizeof(list));
	for (const char *slash = dir + sizeof(TOP) - 1; (slash = strchr(slash, '/')); slash++) {
		snprintf(above, sizeof(above), "%.*s", (int)(slash - dir), dir);
		if (!list_exclusive(above, list, true))
			return false;
	}
	return list_exclusive(dir, list, false);
}

bool partition_set(const char *dir, const char *word, const struct ktstr_cpumask *cpus)
{
	char path[CGROUP_DIR_BYTES + 32], got[256];
	int error;

	snprintf(path, sizeof(path), "%s/cpuset.cpus.partition", dir);
	if (strcmp(word, "member") != 0 && cpus && !claim(dir, cpus))
		return false;
	error = sysfile_write(path, word);
	if (error) {
		run_error("cannot write %s to %s: %s", word, path, strerror(-error));
		return false;
	}
	/* The kernel takes the word, and may hold that it is not valid. */
	if (sysfile_read(path, got, sizeof(got)) > 0 && strcmp(got, word) == 0)
		return true;
	run_error("%s is %s, asked for %s", path, got, word);
	return false;
}
