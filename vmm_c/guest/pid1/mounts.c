// SPDX-License-Identifier: GPL-2.0-only
#include "pid1/mounts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

struct mount_point {
	const char *type;
	const char *path;
	bool needed;
};

/* Parents first. */
static const struct mount_point mounts[] = {
	{ "proc", "/proc", true },
	{ "sysfs", "/sys", true },
	{ "devtmpfs", "/dev", true },
	{ "tmpfs", "/dev/shm", false },
	{ "tmpfs", "/tmp", true },
	{ "tmpfs", "/run", true },
	{ "cgroup2", "/sys/fs/cgroup", true },
	{ "bpf", "/sys/fs/bpf", false },
	{ "debugfs", "/sys/kernel/debug", false },
	{ "tracefs", "/sys/kernel/tracing", false },
};

int mounts_setup(char *why, size_t why_size)
{
	int failed = 0;

	why[0] = '\0';
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		const struct mount_point *m = &mounts[i];
		size_t used = strlen(why);

		mkdir(m->path, 0755);
		/* EBUSY: the kernel or an earlier start already put it there. */
		if (mount(m->type, m->path, m->type, 0, NULL) == 0 || errno == EBUSY || !m->needed)
			continue;
		failed++;
		snprintf(why + used, why_size - used, "%s%s on %s: %s", used ? "; " : "", m->type, m->path,
			 strerror(errno));
	}
	return failed;
}
