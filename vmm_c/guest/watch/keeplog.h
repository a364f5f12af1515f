// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_KEEPLOG_H
#define KTSTR_KEEPLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

/* Half for each end, less what the marker between them may take. */
#define KEEPLOG_END_BYTES (KTSTR_MAX_LOG_BYTES / 2 - 64)

/*
 * A log of unbounded length: its head is kept as it came, of the rest the last bytes, or with first_only
 * the first ones. What is in the head can be taken while the log still grows, so a machine that dies
 * leaves it behind.
 */
struct keeplog {
	bool first_only;
	uint64_t total;
	size_t head_used;
	size_t head_taken;
	char head[KEEPLOG_END_BYTES];
	char tail[KEEPLOG_END_BYTES]; /* a ring, oldest byte at (total - head_used) % its size; no ring of first_only */
};

typedef void (*keeplog_sink)(const char *text, size_t bytes, void *context);

void keeplog_add(struct keeplog *log, const char *text, size_t bytes);
/* Give the sink what the head holds and was not given yet. */
void keeplog_take_head(struct keeplog *log, keeplog_sink sink, void *context);
/* Give the rest: head, tail, and where some was dropped a line saying how much. Call once, last. */
void keeplog_take_all(struct keeplog *log, keeplog_sink sink, void *context);
/* Begin a log anew, of the same kind. */
void keeplog_empty(struct keeplog *log);

#endif
