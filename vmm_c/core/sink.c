// SPDX-License-Identifier: GPL-2.0-only
#include "sink.h"

#include <errno.h>
#include <sys/param.h>
#include <unistd.h>

void sink_init(struct sink *sink, int fd, uint64_t limit)
{
	*sink = (struct sink){ .fd = fd, .limit = limit };
}

void sink_write(struct sink *sink, const uint8_t *data, size_t bytes)
{
	size_t fits = MIN(bytes, sink->limit - sink->written), done = 0;

	while (!sink->error && done < fits) {
		ssize_t n = sink->fd < 0 ? (ssize_t)(fits - done) : write(sink->fd, data + done, fits - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			sink->error = n < 0 ? errno : EIO;
	}
	sink->written += done;
	sink->dropped += bytes - done;
	if (!sink->error && fits < bytes)
		sink->error = EFBIG;
}
