// SPDX-License-Identifier: GPL-2.0-only
#include "root.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"

#define OPTIONS_9P "trans=virtio,version=9p2000.L,msize=1048576"

struct mount_point {
	const char *type, *source, *path, *options;
	unsigned long flags;
};

static const struct mount_point early[] = {
	{ "proc", "proc", "/proc", NULL, 0 },
	{ "sysfs", "sysfs", "/sys", NULL, 0 },
	{ "devtmpfs", "devtmpfs", "/dev", NULL, 0 },
};

/* Nothing on the host changes while a lab runs, so that what was read may be kept (cache=loose). */
static const struct mount_point layers[] = {
	{ "9p", "hostroot", "/host", OPTIONS_9P ",cache=loose", MS_RDONLY },
	{ "tmpfs", "tmpfs", "/layer", "mode=0755", 0 },
};

static const struct mount_point late[] = {
	{ "overlay", "overlay", "/root", "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work", 0 },
	{ "proc", "proc", "/root/proc", NULL, 0 },
	{ "sysfs", "sysfs", "/root/sys", NULL, 0 },
	{ "devtmpfs", "devtmpfs", "/root/dev", NULL, 0 },
	{ "devpts", "devpts", "/root/dev/pts", "ptmxmode=0666", 0 },
	{ "tmpfs", "tmpfs", "/root/dev/shm", "mode=1777", 0 },
	{ "tmpfs", "tmpfs", "/root/run", "mode=0755", 0 },
	{ "cgroup2", "cgroup2", "/root/sys/fs/cgroup", NULL, 0 },
	{ "debugfs", "debugfs", "/root/sys/kernel/debug", NULL, 0 },
	{ "tracefs", "tracefs", "/root/sys/kernel/tracing", NULL, 0 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void mount_all(const struct mount_point *points, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct mount_point *m = &points[i];

		mkdir(m->path, 0755);
		/* EBUSY: the kernel mounted devtmpfs by itself. */
		if (mount(m->source, m->path, m->type, m->flags, m->options) < 0 && errno != EBUSY)
			say_error("mount %s on %s: %s", m->type, m->path, strerror(errno));
	}
}

void root_early(void)
{
	mount_all(early, COUNT(early));
}

/* The links that udev would make. */
static void link_descriptors(void)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};

	for (size_t i = 0; i < COUNT(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			say_error("link %s: %s", links[i][1], strerror(errno));
}

void root_enter(const char *shared)
{
	mount_all(layers, COUNT(layers));
	mkdir("/layer/upper", 0755);
	mkdir("/layer/work", 0755);
	mount_all(late, COUNT(late));
	/* The initramfs cannot be pivoted away from, only covered. */
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		say_error("cannot enter the root: %s", strerror(errno));
	link_descriptors();
	if (shared && mount("shared", shared, "9p", 0, OPTIONS_9P) < 0)
		say_error("mount of the shared folder on %s: %s", shared, strerror(errno));
}
