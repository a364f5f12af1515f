// SPDX-License-Identifier: GPL-2.0-only
#include "memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot_file.h"

#define PAGE 4096

/*
 * Whether a large page's worth of memory may have been written to: pages of it are in RAM or swapped out (bits 63
 * and 62, Documentation/admin-guide/mm/pagemap.rst).
 */
static bool is_touched(int pagemap, const uint8_t *host)
{
	uint64_t pages[MEMORY_STEP / PAGE];
	off_t at = (off_t)((uintptr_t)host / PAGE * sizeof(*pages));

	if (pread(pagemap, pages, sizeof(pages), at) != sizeof(pages))
		return true;
	for (size_t i = 0; i < MEMORY_STEP / PAGE; i++)
		if (pages[i] >> 62)
			return true;
	return false;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Runs of pages that are not zero; the rest stay holes. */
static int write_pages(uint8_t *host, off_t from, off_t to, int fd, struct vmm_error *err)
{
	int rc = 0;

	for (off_t at = from, end; at < to && rc == 0; at = end) {
		bool zero = is_zero(host + at);

		for (end = at + PAGE; end < to && is_zero(host + end) == zero; end += PAGE)
			;
		if (!zero)
			rc = snapshot_file_write(fd, host + at, (size_t)(end - at), at, err);
	}
	return rc;
}

/* Pages that were never touched are not even looked at. */
int memory_file_write(const struct memory *memory, int fd, struct vmm_error *err)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t size = (off_t)memory->bytes, step = (off_t)MEMORY_STEP;
	uint8_t *host = memory->ranges[0].host;
	int rc = ftruncate(fd, size) ? error_set(err, errno, "ftruncate of a snapshot: %s", strerror(errno)) : 0;

	for (off_t at = 0; at < size && rc == 0; at += step)
		if (is_touched(pagemap, host + at))
			rc = write_pages(host, at, at + step, fd, err);
	if (pagemap >= 0)
		close(pagemap);
	return rc;
}

/* The next part of a file from *to on that is not a hole. */
static bool next_data(int fd, off_t size, off_t *from, off_t *to)
{
	*from = lseek(fd, *to, SEEK_DATA);
	if (*from < 0 || *from >= size)
		return false;
	*to = lseek(fd, *from, SEEK_HOLE);
	return *to > *from && *to <= size;
}

int memory_file_read(const struct memory *memory, int fd, struct vmm_error *err)
{
	off_t size = (off_t)memory->bytes, from, to = 0;
	int rc = 0;

	if (lseek(fd, 0, SEEK_END) != size)
		return error_set(err, EINVAL, "a snapshot's memory: expected a file of %lld bytes", (long long)size);
	while (rc == 0 && next_data(fd, size, &from, &to))
		rc = snapshot_file_read(fd, memory->ranges[0].host + from, (size_t)(to - from), from, err);
	return rc;
}
