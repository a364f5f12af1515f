// SPDX-License-Identifier: GPL-2.0-only
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port.h"

static _Noreturn void say(const char *line)
{
	int fd = port_open("lab.status");

	if (fd < 0 || write(fd, line, strlen(line)) < 0)
		fprintf(stderr, "lab: cannot tell the host: %s", line);
	for (;;)
		reboot(RB_POWER_OFF);
}

void say_ended(int wait_status)
{
	char line[32];

	if (WIFSIGNALED(wait_status))
		snprintf(line, sizeof(line), "signal %d\n", WTERMSIG(wait_status));
	else
		snprintf(line, sizeof(line), "exit %d\n", WEXITSTATUS(wait_status));
	say(line);
}

void say_error(const char *format, ...)
{
	char line[512] = "error ";
	size_t begin = strlen(line);
	va_list args;

	va_start(args, format);
	vsnprintf(line + begin, sizeof(line) - begin - 1, format, args);
	va_end(args);
	strcat(line, "\n");
	say(line);
}
