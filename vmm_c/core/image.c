// SPDX-License-Identifier: GPL-2.0-only
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int image_open(struct image *image, const struct memory *memory, const char *path, struct vmm_error *err)
{
	struct stat st;

	/* O_NONBLOCK: a FIFO is to be refused, not waited for. */
	*image = (struct image){ memory, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .path = path };
	if (image->fd < 0 || fstat(image->fd, &st) < 0)
		return error_set(err, errno, "open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s: expected a regular file", path);
	image->bytes = (uint64_t)st.st_size;
	return 0;
}

void image_close(const struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
}

int image_read(const struct image *image, uint64_t offset, void *ret, uint64_t bytes, struct vmm_error *err)
{
	uint8_t *at = ret;

	while (bytes) {
		ssize_t n = pread(image->fd, at, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "read %s: %s", image->path, strerror(errno));
		if (n == 0)
			return error_set(err, EIO, "%s: truncated, expected %llu bytes at %#llx", image->path,
					 (unsigned long long)bytes, (unsigned long long)offset);
		at += n;
		bytes -= (uint64_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

void *image_place(const struct image *image, uint64_t begin, uint64_t bytes, struct vmm_error *err)
{
	bool low = begin >= IMAGE_KERNEL_MIN && begin < MEMORY_HOLE_BEGIN;
	void *host = low ? memory_at(image->memory, begin, bytes) : NULL;

	if (!host)
		error_set(err, ENOMEM,
			  "%s: the kernel needs %llu bytes at %#llx, not in the guest's low RAM of %llu MiB; give it more",
			  image->path, (unsigned long long)bytes, (unsigned long long)begin,
			  (unsigned long long)(memory_low_end(image->memory) >> 20));
	return host;
}
