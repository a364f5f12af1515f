// SPDX-License-Identifier: GPL-2.0-only
#include "watch/keeplog.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/smaller.h"

void keeplog_add(struct keeplog *log, const char *text, size_t bytes)
{
	size_t to_head = smaller(bytes, sizeof(log->head) - log->head_used);

	memcpy(log->head + log->head_used, text, to_head);
	log->head_used += to_head;
	log->total += to_head;
	text += to_head;
	bytes -= to_head;
	while (bytes) {
		uint64_t after_head = log->total - log->head_used;
		size_t at = after_head % sizeof(log->tail);
		size_t n = smaller(bytes, sizeof(log->tail) - at);

		if (log->first_only && after_head >= sizeof(log->tail)) {
			log->total += bytes;
			return;
		}
		memcpy(log->tail + at, text, n);
		log->total += n;
		text += n;
		bytes -= n;
	}
}

void keeplog_take_head(struct keeplog *log, keeplog_sink sink, void *context)
{
	if (log->head_used > log->head_taken)
		sink(log->head + log->head_taken, log->head_used - log->head_taken, context);
	log->head_taken = log->head_used;
}

void keeplog_take_all(struct keeplog *log, keeplog_sink sink, void *context)
{
	uint64_t rest = log->total - log->head_used;
	size_t at = rest % sizeof(log->tail);

	keeplog_take_head(log, sink, context);
	if (rest <= sizeof(log->tail)) {
		if (rest)
			sink(log->tail, (size_t)rest, context);
		return;
	}
	char marker[64];
	int n = snprintf(marker, sizeof(marker), "\n[... %" PRIu64 " bytes dropped ...]\n",
			 rest - sizeof(log->tail));

	if (log->first_only) {
		sink(log->tail, sizeof(log->tail), context);
		sink(marker, (size_t)n, context);
		return;
	}
	sink(marker, (size_t)n, context);
	sink(log->tail + at, sizeof(log->tail) - at, context);
	if (at)
		sink(log->tail, at, context);
}

void keeplog_empty(struct keeplog *log)
{
	log->total = 0;
	log->head_used = log->head_taken = 0;
}
