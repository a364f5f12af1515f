// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the output of a guest goes: a blocking host fd, up to a limit. A guest may write without
 * end, so nothing is kept in memory; what could not be written is counted, and why it could not.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct sink {
	int fd; /* the caller's; -1 takes everything and keeps nothing */
	int error; /* errno of the first failure, EFBIG at the limit; from then on all is dropped */
	uint64_t limit;
	uint64_t written;
	uint64_t dropped;
};

void sink_init(struct sink *sink, int fd, uint64_t limit);
/* A pipe whose reader is gone raises SIGPIPE: callers run with it blocked or ignored. */
void sink_write(struct sink *sink, const uint8_t *data, size_t bytes);
