// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the output of a guest goes: a host fd, up to a limit. A regular file takes all at once, and nothing of it is
 * lost. A pipe, a terminal or a socket may have nobody who reads, for whom neither the guest nor the end of its machine
 * waits: what such a fd does not take is kept in a queue, and what does not fit there is dropped and counted. Its own
 * file status flags stay as they are, as others may have the same open file.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SINK_QUEUE_BYTES (256U << 10)

enum sink_kind {
	SINK_FILE, /* the caller's fd of a file, which never makes wait for anybody */
	SINK_OPENED, /* an opening of our own, which never blocks */
	SINK_SOCKET, /* a duplicate; send never blocks */
	SINK_SHARED, /* a duplicate of what cannot be opened again, and blocks unless it is asked first */
};

struct sink {
	enum sink_kind kind;
	int fd; /* -1 takes everything and keeps nothing */
	int error; /* EAGAIN: some was dropped, as nobody read; else an errno or EFBIG, and all is dropped from then on */
	uint64_t limit;
	uint64_t written;
	uint64_t dropped;
	size_t head, count; /* of the queue, a ring */
	uint8_t queue[SINK_QUEUE_BYTES];
};

/* fd stays the caller's, -1 for none; it has to be there until sink_deinit. */
void sink_init(struct sink *sink, int fd, uint64_t limit);
/* What is still in the queue is dropped. */
void sink_deinit(struct sink *sink);
/* A pipe whose reader is gone raises SIGPIPE: callers run with it blocked or ignored. */
void sink_write(struct sink *sink, const uint8_t *data, size_t bytes);
/* What to wait for until more of the queue can be written (edges of EPOLLOUT); -1 for a fd that never makes wait. */
int sink_poll_fd(const struct sink *sink);
/* Write of the queue what is taken now; gives what is left. */
size_t sink_drain(struct sink *sink);
/* Nobody waits for the rest. */
void sink_drop(struct sink *sink);
