// SPDX-License-Identifier: GPL-2.0-only
#include "sink.h"

#include <errno.h>
#include <unistd.h>

void sink_init(struct sink *sink, int fd, uint64_t limit)
{
	*sink = (struct sink){ .fd = fd, .limit = limit };
}

/* How much of it went out before an error. */
static size_t write_all(struct sink *sink, const uint8_t *data, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = write(sink->fd, data + done, bytes - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			sink->error = n < 0 ? errno : EIO;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

void sink_write(struct sink *sink, const uint8_t *data, size_t bytes)
{
	uint64_t room = sink->limit - sink->written;
	size_t fits = bytes < room ? bytes : (size_t)room;
	size_t done = 0;

	if (!sink->error)
		done = sink->fd < 0 ? fits : write_all(sink, data, fits);
	sink->written += done;
	sink->dropped += bytes - done;
	if (!sink->error && fits < bytes)
		sink->error = EFBIG;
}
