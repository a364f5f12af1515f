// SPDX-License-Identifier: GPL-2.0-only
/* Removing cgroups, with whatever is in them. */
#include "proc/cgroup_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sysfile.h"
#include "proc/limits.h"
#include "wire/errors.h"

#define DRAIN_NS UINT64_C(2000000000)

/* The kernel may take a moment to let go of a task that was already reaped. */
static bool remove_when_empty(const char *dir, uint64_t until)
{
	char path[CGROUP_DIR_BYTES + 32];
	int fd;

	if (rmdir(dir) == 0)
		return true;
	snprintf(path, sizeof(path), "%s/cgroup.events", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && errno == EBUSY && now_ns() < until) {
		struct pollfd change = { .fd = fd, .events = POLLPRI };
		char events[128];

		/* kernfs reports a change since the last read. */
		if (pread(fd, events, sizeof(events), 0) < 0)
			break;
		if (rmdir(dir) == 0) {
			close(fd);
			return true;
		}
		if (errno == EBUSY) {
			poll(&change, 1, 10);
			errno = EBUSY;
		}
	}
	run_error("cannot remove cgroup %s: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

/* itself: beside all below it. */
static bool remove_tree(const char *dir, bool itself, uint64_t until)
{
	DIR *entries = opendir(dir);
	struct dirent *entry;
	bool good = true;

	if (!entries)
		return errno == ENOENT;
	while (good && (entry = readdir(entries))) {
		char child[CGROUP_DIR_BYTES];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		good = snprintf(child, sizeof(child), "%s/%s", dir, entry->d_name) < (int)sizeof(child) &&
		       remove_tree(child, true, until);
	}
	closedir(entries);
	return good && (!itself || remove_when_empty(dir, until));
}

/* What was killed has to run once more to end. */
static void lift_tree(const char *dir)
{
	DIR *entries = opendir(dir);
	struct dirent *entry;

	if (!entries)
		return;
	limits_lift(dir, false);
	while ((entry = readdir(entries))) {
		char child[CGROUP_DIR_BYTES];

		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    snprintf(child, sizeof(child), "%s/%s", dir, entry->d_name) < (int)sizeof(child))
			lift_tree(child);
	}
	closedir(entries);
}

void cgroup_tree_remove(const char *dir, bool itself)
{
	char path[CGROUP_DIR_BYTES + 32];

	snprintf(path, sizeof(path), "%s/cgroup.kill", dir);
	sysfile_write(path, "1");
	lift_tree(dir);
	remove_tree(dir, itself, now_ns() + DRAIN_NS);
}
