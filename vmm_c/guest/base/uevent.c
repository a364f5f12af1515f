// SPDX-License-Identifier: GPL-2.0-only
#include "base/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

int uevent_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void uevent_drain(int fd)
{
	char event[4096];

	/* ENOBUFS says that events were lost, which matters to no one here. */
	while (recv(fd, event, sizeof(event), 0) >= 0 || errno == ENOBUFS || errno == EINTR)
		;
}
