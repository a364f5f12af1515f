// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel itself says about the scheduler: why it ended it, above all. */
#include "watch/kmsg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/events.h"
#include "watch/keeplog.h"
#include "wire/channel.h"
#include "wire/errors.h"

/* The scheduler; and what else can end or explain it: a process killed for memory, warnings. */
static const char *const topics[] = { "sched_ext", "Out of memory", "WARNING: ", "BUG: " };

static int fd = -1;
static struct keeplog kept;
static char recent[KTSTR_MAX_TEXT_BYTES];
static size_t recent_used;

static bool parse_number(const char **text, const char *end, uint64_t *ret)
{
	const char *p = *text;

	*ret = 0;
	while (p < end && *p >= '0' && *p <= '9')
		*ret = *ret * 10 + (uint64_t)(*p++ - '0');
	if (p == *text || p == end)
		return false;
	*text = p + 1; /* over the separator */
	return true;
}

bool kmsg_parse(const char *record, size_t bytes, const char **text, size_t *text_bytes, uint64_t *usec)
{
	const char *end = record + bytes, *p = record, *line_end;
	uint64_t priority, sequence;

	if (!parse_number(&p, end, &priority) || !parse_number(&p, end, &sequence) ||
	    !parse_number(&p, end, usec))
		return false;
	p = memchr(p, ';', (size_t)(end - p));
	if (!p)
		return false;
	p++;
	line_end = memchr(p, '\n', (size_t)(end - p));
	*text = p;
	*text_bytes = (size_t)((line_end ? line_end : end) - p);
	return true;
}

static void keep(const char *text, size_t bytes, uint64_t usec)
{
	char stamp[32];
	int n = snprintf(stamp, sizeof(stamp), "[%5llu.%06llu] ", (unsigned long long)(usec / 1000000),
			 (unsigned long long)(usec % 1000000));

	keeplog_add(&kept, stamp, (size_t)n);
	keeplog_add(&kept, text, bytes);
	keeplog_add(&kept, "\n", 1);
	if (bytes + 2 > sizeof(recent) - recent_used)
		return;
	if (recent_used)
		recent[recent_used++] = '\n';
	memcpy(recent + recent_used, text, bytes);
	recent_used += bytes;
	recent[recent_used] = '\0';
}

static bool is_ours(const char *text, size_t bytes)
{
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		if (memmem(text, bytes, topics[i], strlen(topics[i])))
			return true;
	return false;
}

static void take_record(const char *record, size_t bytes)
{
	const char *text;
	size_t text_bytes;
	uint64_t usec;

	if (kmsg_parse(record, bytes, &text, &text_bytes, &usec) && is_ours(text, text_bytes))
		keep(text, text_bytes, usec);
}

void kmsg_drain(void)
{
	char record[8192];

	while (fd >= 0) {
		ssize_t n = read(fd, record, sizeof(record));

		if (n > 0)
			take_record(record, (size_t)n);
		else if (n == 0 || (errno != EPIPE && errno != EINTR))
			return; /* EPIPE: records were overwritten unread, the next read goes on after them */
	}
}

static void on_ready(int ready, void *context)
{
	(void)ready;
	(void)context;
	kmsg_drain();
}

void kmsg_begin(void)
{
	if (fd >= 0)
		return;
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		run_error("cannot open /dev/kmsg: %s", strerror(errno));
		return;
	}
	lseek(fd, 0, SEEK_END);
	if (!events_add(fd, on_ready, NULL))
		run_error("no memory to watch /dev/kmsg");
}

bool kmsg_recent_has(const char *words)
{
	return recent_used && strstr(recent, words);
}

const char *kmsg_recent(void)
{
	return recent;
}

void kmsg_forget(void)
{
	recent_used = 0;
	recent[0] = '\0';
}

static void sink(const char *text, size_t bytes, void *context)
{
	(void)context;
	channel_send_text(KTSTR_MSG_SCHED_KMSG, NULL, 0, text, bytes, KTSTR_MAX_PAYLOAD);
}

void kmsg_send(bool last)
{
	kmsg_drain();
	if (last)
		keeplog_take_all(&kept, sink, NULL);
	else
		keeplog_take_head(&kept, sink, NULL);
}
