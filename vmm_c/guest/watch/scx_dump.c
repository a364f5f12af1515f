// SPDX-License-Identifier: GPL-2.0-only
#include "watch/scx_dump.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sysfile.h"
#include "wire/channel.h"

/*
 * A trace of our own: what programs print with bpf_printk goes to the kernel's. Its buffers are as large as the
 * kernel's argument trace_buf_size says (trace_array_create of kernel/trace/trace.c), of each CPU. A dump is of one;
 * its first lines tell most, so a full buffer keeps those.
 */
#define INSTANCE "/sys/kernel/tracing/instances/ktstr"

static int fd = -1;
static size_t sent;

void scx_dump_begin(void)
{
	if (fd >= 0 || (mkdir(INSTANCE, 0700) && errno != EEXIST))
		return;
	sysfile_write(INSTANCE "/options/overwrite", "0");
	sysfile_write(INSTANCE "/options/context-info", "0");
	if (sysfile_write(INSTANCE "/events/sched_ext/sched_ext_dump/enable", "1"))
		return;
	fd = open(INSTANCE "/trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

void scx_dump_send(void)
{
	char text[8192];

	while (fd >= 0 && sent < KTSTR_MAX_LOG_BYTES) {
		ssize_t n = read(fd, text, sizeof(text));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		if ((size_t)n > KTSTR_MAX_LOG_BYTES - sent)
			n = (ssize_t)(KTSTR_MAX_LOG_BYTES - sent);
		channel_send_text(KTSTR_MSG_SCHED_DUMP, NULL, 0, text, (size_t)n, KTSTR_MAX_PAYLOAD);
		sent += (size_t)n;
	}
}
