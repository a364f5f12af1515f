// SPDX-License-Identifier: GPL-2.0-only
#include "snapshot_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int snapshot_file_write(int fd, const void *data, size_t bytes, off_t at, struct vmm_error *err)
{
	const uint8_t *from = data;

	for (ssize_t n; bytes; from += n, bytes -= (size_t)n, at += n) {
		n = pwrite(fd, from, bytes, at);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return error_set(err, n < 0 ? errno : EINVAL, "writing a snapshot: %s",
					 n < 0 ? strerror(errno) : "the file is too short");
	}
	return 0;
}

int snapshot_file_read(int fd, void *ret, size_t bytes, off_t at, struct vmm_error *err)
{
	uint8_t *to = ret;

	for (ssize_t n; bytes; to += n, bytes -= (size_t)n, at += n) {
		n = pread(fd, to, bytes, at);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return error_set(err, n < 0 ? errno : EINVAL, "reading a snapshot: %s",
					 n < 0 ? strerror(errno) : "the file is too short");
	}
	return 0;
}
