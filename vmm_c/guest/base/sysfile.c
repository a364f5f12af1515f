// SPDX-License-Identifier: GPL-2.0-only
#include "base/sysfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_full(int fd, char *ret, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n = read(fd, ret + used, size - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

ssize_t sysfile_read(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read_full(fd, ret, size);
	close(fd);
	if (n < 0)
		return n;
	if ((size_t)n == size)
		return -EFBIG;
	if (n > 0 && ret[n - 1] == '\n')
		n--;
	ret[n] = '\0';
	return n;
}

char *sysfile_read_whole(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 1 << 16, used = 0;
	char *text = fd < 0 ? NULL : malloc(size);

	while (text) {
		ssize_t n = read_full(fd, text + used, size - used - 1);
		char *bigger;

		if (n < 0) {
			free(text);
			text = NULL;
			errno = (int)-n;
			break;
		}
		used += (size_t)n;
		if (used < size - 1)
			break;
		errno = EFBIG;
		bigger = size < KTSTR_SYSFILE_MAX ? realloc(text, size *= 2) : NULL;
		if (!bigger)
			free(text);
		text = bigger;
	}
	if (text)
		text[used] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

int sysfile_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		result = -errno;
	close(fd);
	return result;
}

int64_t sysfile_read_number(const char *path)
{
	char text[32];
	char *end;
	int64_t value;

	if (sysfile_read(path, text, sizeof(text)) <= 0)
		return -1;
	value = strtoll(text, &end, 10);
	return *end == '\0' ? value : -1;
}
