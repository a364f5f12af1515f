// SPDX-License-Identifier: GPL-2.0-only
#include "proc/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sysfile.h"
#include "wire/errors.h"

#define FREEZE_NS UINT64_C(1000000000)

struct lifted {
	struct lifted *next;
	char *path;
	char text[64];
};

static struct lifted *all;

static void remember(const char *path, const char *text)
{
	struct lifted *lifted = calloc(1, sizeof(*lifted));

	if (!lifted || !(lifted->path = strdup(path))) {
		run_error("no memory to put %s back", path);
		free(lifted);
		return;
	}
	snprintf(lifted->text, sizeof(lifted->text), "%s", text);
	lifted->next = all;
	all = lifted;
}

/* Unless it holds what does not limit. */
static void lift(const char *dir, const char *file, const char *unlimited, bool keep)
{
	char path[768], text[64];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	if (sysfile_read(path, text, sizeof(text)) <= 0 || strncmp(text, unlimited, strlen(unlimited)) == 0)
		return;
	if (sysfile_write(path, unlimited) == 0 && keep)
		remember(path, text);
}

void limits_lift(const char *dir, bool keep)
{
	lift(dir, "cgroup.freeze", "0", keep);
	lift(dir, "cpu.max", "max", keep);
}

void limits_await_frozen(const char *dir)
{
	uint64_t until = now_ns() + FREEZE_NS;
	char path[768], events[128];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.events", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && now_ns() < until) {
		struct pollfd change = { .fd = fd, .events = POLLPRI };
		ssize_t n = pread(fd, events, sizeof(events) - 1, 0);

		events[n > 0 ? n : 0] = '\0';
		if (n <= 0 || strstr(events, "frozen 1"))
			break;
		poll(&change, 1, 10); /* kernfs reports a change since the last read */
	}
	if (fd >= 0)
		close(fd);
}

void limits_put_back(void)
{
	while (all) {
		struct lifted *lifted = all;
		int error = sysfile_write(lifted->path, lifted->text);

		if (error)
			run_error("cannot write %s to %s: %s", lifted->text, lifted->path, strerror(-error));
		all = lifted->next;
		free(lifted->path);
		free(lifted);
	}
}
