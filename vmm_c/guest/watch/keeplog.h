// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_KEEPLOG_H
#define KTSTR_KEEPLOG_H

#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

/* Half for each end, less what the marker between them may take. */
#define KEEPLOG_END_BYTES (KTSTR_MAX_LOG_BYTES / 2 - 64)

/*
 * A log of unbounded length: its head is kept as it came, of the rest the last bytes. What is
 * in the head can be taken while the log still grows, so a machine that dies leaves it behind.
 */
struct keeplog {
	uint64_t total;
	size_t head_used;
	size_t head_taken;
	char head[KEEPLOG_END_BYTES];
	char tail[KEEPLOG_END_BYTES]; /* a ring, oldest byte at (total - head_used) % its size */
};

typedef void (*keeplog_sink)(const char *text, size_t bytes, void *context);

void keeplog_add(struct keeplog *log, const char *text, size_t bytes);
/* Give the sink what the head holds and was not given yet. */
void keeplog_take_head(struct keeplog *log, keeplog_sink sink, void *context);
/* Give the rest: head, a line saying how much was dropped if any was, tail. Call once, last. */
void keeplog_take_all(struct keeplog *log, keeplog_sink sink, void *context);

#endif
