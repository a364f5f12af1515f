// SPDX-License-Identifier: GPL-2.0-only
#include "work/cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sysfile.h"

#define ROOT "/sys/fs/cgroup"
#define FILE_BYTES (CGROUPS_PATH_BYTES + 128)

/* The line of cgroup v2: "0::" and the path, from the root of its namespace. */
static bool read_own(char *ret, size_t size)
{
	char text[CGROUPS_PATH_BYTES];
	const char *at = text;

	if (sysfile_read("/proc/thread-self/cgroup", text, sizeof(text)) < 0)
		return false;
	while (strncmp(at, "0::", 3) != 0) {
		at = strchr(at, '\n');
		if (!at++) {
			errno = ENOENT;
			return false;
		}
	}
	snprintf(ret, size, "%.*s", (int)strcspn(at + 3, "\n"), at + 3);
	return true;
}

bool cgroups_own(const struct self *self, char ret[CGROUPS_PATH_BYTES])
{
	char path[CGROUPS_PATH_BYTES - sizeof(ROOT)];

	if (self->slot->report.cgroup < 0) {
		errno = EBUSY; /* the root of all: what is made in it nobody takes down */
		return false;
	}
	if (self->slot->own_namespace) { /* which begins where it was forked into */
		snprintf(ret, CGROUPS_PATH_BYTES, "%s", self->slot->cgroup_path);
		return true;
	}
	if (!read_own(path, sizeof(path)))
		return false;
	snprintf(ret, CGROUPS_PATH_BYTES, ROOT "%s", path);
	return true;
}

int cgroups_threads_of(const char *own)
{
	char path[FILE_BYTES + 64];

	snprintf(path, sizeof(path), "%s/cgroup.threads", own);
	return open(path, O_WRONLY | O_CLOEXEC);
}

static bool write_to(const char *dir, const char *file, const char *text)
{
	char path[FILE_BYTES + 64];
	int error;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	error = sysfile_write(path, text);
	errno = -error;
	return error == 0;
}

int cgroups_make(const char *own, const char *name)
{
	char dir[FILE_BYTES];

	snprintf(dir, sizeof(dir), "%s/%s", own, name);
	if ((mkdir(dir, 0755) < 0 && errno != EEXIST) || !write_to(dir, "cgroup.type", "threaded"))
		return -1;
	/* With it the scheduler hears of each move. A kernel may have none, and refuse. */
	write_to(own, "cgroup.subtree_control", "+cpu");
	return cgroups_threads_of(dir);
}

void cgroups_remove(const char *own, const char *name)
{
	char dir[FILE_BYTES];

	snprintf(dir, sizeof(dir), "%s/%s", own, name);
	rmdir(dir);
}

bool cgroups_in(const char *name)
{
	char path[CGROUPS_PATH_BYTES];
	const char *last;

	if (!read_own(path, sizeof(path)))
		return false;
	last = strrchr(path, '/');
	return last && strcmp(last + 1, name) == 0;
}

long cgroups_move(struct self *self, int threads_fd, int32_t tid)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", tid);

	return block_call(self, SYS_write, (long[6]){ threads_fd, (long)text, length });
}

uint64_t cgroups_cpu_ns(const char *own, const char *name)
{
	static const char key[] = "usage_usec ";
	char path[FILE_BYTES], text[1024];
	const char *at;

	snprintf(path, sizeof(path), "%s/%s/cpu.stat", own, name);
	if (sysfile_read(path, text, sizeof(text)) < 0 || !(at = strstr(text, key)))
		return 0;
	return strtoull(at + sizeof(key) - 1, NULL, 10) * 1000;
}
