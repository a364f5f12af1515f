// SPDX-License-Identifier: GPL-2.0-only
#include "port.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PORTS "/sys/class/virtio-ports"
#define WAIT_MS 5
#define TRIES 4000

static bool has_name(const char *entry, const char *name)
{
	char path[320], found[64];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), PORTS "/%s/name", entry);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, found, sizeof(found) - 1);
	close(fd);
	if (got <= 0)
		return false;
	found[got] = '\0';
	found[strcspn(found, "\n")] = '\0';
	return strcmp(found, name) == 0;
}

static int open_now(const char *name)
{
	DIR *ports = opendir(PORTS);
	struct dirent *entry;
	char device[320];
	int fd = -1;

	while (ports && fd < 0 && (entry = readdir(ports))) {
		if (!has_name(entry->d_name, name))
			continue;
		snprintf(device, sizeof(device), "/dev/%s", entry->d_name);
		fd = open(device, O_WRONLY | O_CLOEXEC);
	}
	if (ports)
		closedir(ports);
	return fd;
}

/* The driver is built in, but makes its ports from a work queue: they come up a little after us. */
int port_open(const char *name)
{
	const struct timespec wait = { 0, WAIT_MS * 1000000L };

	for (int i = 0; i < TRIES; i++) {
		int fd = open_now(name);

		if (fd >= 0)
			return fd;
		nanosleep(&wait, NULL);
	}
	return -1;
}
