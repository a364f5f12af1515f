// SPDX-License-Identifier: GPL-2.0-only
/* A guest that breaks the rules, in the way that the text in /ktstr/program names, or in /ktstr/setup. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

static int open_port(void)
{
	DIR *ports = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	char path[300];

	while (ports && (entry = readdir(ports))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		return open(path, O_WRONLY);
	}
	return -1;
}

static void say(int port, const char *bytes, size_t count)
{
	if (write(port, bytes, count) < 0)
		perror("write");
}

/* As the agent does that is to be parked, without a word (vmm_c/guest/pid1/park.c). */
static void stop_the_machine(void)
{
	if (iopl(3) == 0)
		outb(0xe, 0x443);
	sleep(10);
}

static void keep_cpus_busy(int cpus)
{
	while (cpus--) {
		if (fork())
			continue;
		for (;;)
			;
	}
}

int main(void)
{
	static char block[1 << 16], mode[64];
	int port, program;
	ssize_t given;

	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	program = open("/ktstr/program", O_RDONLY);
	if (program < 0)
		program = open("/ktstr/setup", O_RDONLY);
	given = program < 0 ? -1 : read(program, mode, sizeof(mode) - 1);
	if (given <= 0)
		return 1;
	port = open_port();
	memset(block, 0xa5, sizeof(block));
	if (!strcmp(mode, "garbage"))
		say(port, block, 1000);
	while (!strcmp(mode, "flood"))
		say(port, block, sizeof(block));
	while (!strcmp(mode, "hang"))
		pause();
	if (!strcmp(mode, "stop"))
		stop_the_machine();
	if (!strcmp(mode, "busy")) { /* what it says follows */
		keep_cpus_busy(2);
		if (given > (ssize_t)sizeof("busy"))
			say(port, mode + sizeof("busy"), given - sizeof("busy"));
		stop_the_machine();
	}
	if (!strcmp(mode, "die"))
		return 3; /* the kernel does not survive its init */
	reboot(RB_POWER_OFF);
	return 0;
}
