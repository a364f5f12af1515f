// SPDX-License-Identifier: GPL-2.0-only
/* PID 1 of the lab: a host in a virtual machine, with /dev/kvm, that runs one command and powers off. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "command.h"
#include "port.h"
#include "request.h"
#include "root.h"
#include "say.h"

static void load(const char *module)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
		say_error("module %s: %s", module, strerror(errno));
	close(fd);
}

/* Tests talk to servers of their own. */
static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		say_error("loopback interface: %s", strerror(errno));
	close(fd);
}

int main(void)
{
	struct request request;
	int out;

	root_early();
	request_read("/request", &request);
	for (char **module = request.modules; *module; module++)
		load(*module);
	loopback_up();
	out = port_open("lab.out");
	if (out < 0)
		say_error("no virtio port lab.out");
	root_enter(request.shared);
	say_ended(command_run(&request, out));
}
