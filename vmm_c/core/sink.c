// SPDX-License-Identifier: GPL-2.0-only
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opened once more, it has flags of its own; not so what another user owns. */
static int reopen(int fd)
{
	char path[32];

	if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) /* not ours to write to */
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Duplicates, as epoll tells fds apart and two sinks may have the same. */
static void make_ready(struct sink *sink, int fd, mode_t mode)
{
	int own = S_ISSOCK(mode) ? -1 : reopen(fd);

	sink->kind = own >= 0 ? SINK_OPENED : S_ISSOCK(mode) ? SINK_SOCKET : SINK_SHARED;
	sink->fd = own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (sink->fd < 0)
		sink->error = errno;
}

void sink_init(struct sink *sink, int fd, uint64_t limit)
{
	struct stat st;

	memset(sink, 0, offsetof(struct sink, queue)); /* pages of the queue that are never used are never there */
	sink->fd = fd;
	sink->limit = limit;
	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		make_ready(sink, fd, st.st_mode);
}

void sink_deinit(struct sink *sink)
{
	sink_drop(sink);
	if (sink->kind != SINK_FILE && sink->fd >= 0)
		close(sink->fd);
	sink->kind = SINK_FILE;
	sink->fd = -1;
}

/* Nothing more can be written; at the limit, what was taken before still is. */
static bool is_broken(const struct sink *sink)
{
	return sink->error && sink->error != EAGAIN && sink->error != EFBIG;
}

static bool is_closed(const struct sink *sink)
{
	return sink->error && sink->error != EAGAIN;
}

/* A pipe that is ready takes so many without blocking. */
static size_t ready_bytes(int fd, size_t bytes)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };

	return poll(&ready, 1, 0) > 0 ? MIN(bytes, PIPE_BUF) : 0;
}

static ssize_t write_now(const struct sink *sink, const uint8_t *data, size_t bytes)
{
	if (sink->kind == SINK_SOCKET)
		return send(sink->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sink->kind == SINK_SHARED)
		bytes = ready_bytes(sink->fd, bytes);
	if (bytes)
		return write(sink->fd, data, bytes);
	errno = EAGAIN;
	return -1;
}

/* What the fd takes of it, without waiting if it may make wait. */
static size_t put(struct sink *sink, const uint8_t *data, size_t bytes)
{
	size_t done = 0;

	while (!is_broken(sink) && done < bytes) {
		ssize_t n = write_now(sink, data + done, bytes - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EAGAIN && sink->kind != SINK_FILE)
			break;
		else if (n == 0 || errno != EINTR)
			sink->error = n < 0 ? errno : EIO;
	}
	sink->written += done;
	return done;
}

size_t sink_drain(struct sink *sink)
{
	while (sink->count) {
		size_t part = MIN(sink->count, SINK_QUEUE_BYTES - sink->head);
		size_t done = put(sink, sink->queue + sink->head, part);

		sink->head = (sink->head + done) % SINK_QUEUE_BYTES;
		sink->count -= done;
		if (is_broken(sink))
			sink_drop(sink);
		if (done < part)
			break;
	}
	return sink->count;
}

void sink_drop(struct sink *sink)
{
	if (sink->count && !sink->error)
		sink->error = EAGAIN;
	sink->dropped += sink->count;
	sink->count = 0;
}

static size_t enqueue(struct sink *sink, const uint8_t *data, size_t bytes)
{
	size_t tail = (sink->head + sink->count) % SINK_QUEUE_BYTES;
	size_t fits = MIN(bytes, SINK_QUEUE_BYTES - sink->count);
	size_t first = MIN(fits, SINK_QUEUE_BYTES - tail);

	memcpy(sink->queue + tail, data, first);
	memcpy(sink->queue, data + first, fits - first);
	sink->count += fits;
	return fits;
}

void sink_write(struct sink *sink, const uint8_t *data, size_t bytes)
{
	size_t room = is_closed(sink) ? 0 : sink->limit - sink->written - sink->count;
	size_t fits = MIN(bytes, room), done = 0;

	if (sink->fd < 0)
		sink->written += done = fits;
	else if (sink_drain(sink) == 0)
		done = put(sink, data, fits);
	if (sink->kind != SINK_FILE && !is_broken(sink))
		done += enqueue(sink, data + done, fits - done);
	sink->dropped += bytes - done;
	if (!is_closed(sink) && fits < bytes)
		sink->error = EFBIG;
	else if (!sink->error && done < bytes)
		sink->error = EAGAIN;
}

int sink_poll_fd(const struct sink *sink)
{
	return sink->kind == SINK_FILE ? -1 : sink->fd;
}
