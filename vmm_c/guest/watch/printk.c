// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace of the whole kernel, not an instance of our own: the kernel turns the event of bpf_printk on
 * there when a program that calls it is loaded (kernel/trace/bpf_trace.c), and makes no buffers before.
 */
#include "watch/printk.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/events.h"
#include "watch/keeplog.h"
#include "wire/channel.h"

#define TRACE_PIPE "/sys/kernel/tracing/trace_pipe"
/* A program that prints in each callback takes this of the agent, and no more. */
#define TURN_BYTES (16 << 10)
#define TURN_PAUSE_NS UINT64_C(20000000)
#define MOST_AT_ONCE (4 << 20) /* there may be more as fast as it is read */

static int fd = -1;
static struct keeplog kept;

static void take(size_t most)
{
	char text[4096];
	size_t taken = 0;
	ssize_t n;

	while (fd >= 0 && taken < most && (n = read(fd, text, sizeof(text))) > 0) {
		keeplog_add(&kept, text, (size_t)n);
		taken += (size_t)n;
	}
}

static void on_ready(int ready, void *context)
{
	(void)context;
	take(TURN_BYTES);
	events_pause(ready, now_ns() + TURN_PAUSE_NS);
}

void printk_begin(void)
{
	if (fd >= 0)
		return;
	fd = open(TRACE_PIPE, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && !events_add(fd, on_ready, NULL)) {
		close(fd);
		fd = -1;
	}
}

static void sink(const char *text, size_t bytes, void *context)
{
	(void)context;
	channel_send_text(KTSTR_MSG_SCHED_PRINTK, NULL, 0, text, bytes, KTSTR_MAX_PAYLOAD);
}

void printk_send(bool last)
{
	take(MOST_AT_ONCE);
	if (last)
		keeplog_take_all(&kept, sink, NULL);
	else
		keeplog_take_head(&kept, sink, NULL);
}
