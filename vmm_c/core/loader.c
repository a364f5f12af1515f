// SPDX-License-Identifier: GPL-2.0-only
#include "loader.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ULL
#define BOOT_SIGNATURE 0x1fe /* 55 aa (Documentation/arch/x86/boot.rst) */
#define HEADER_MAGIC 0x202

static int open_file(struct loader_file *file, const struct memory *memory, const char *path, struct vmm_error *err)
{
	struct stat st;

	/* O_NONBLOCK: a FIFO is to be refused, not waited for. */
	*file = (struct loader_file){ memory, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .path = path };
	if (file->fd < 0 || fstat(file->fd, &st) < 0)
		return error_set(err, errno, "open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s: expected a regular file", path);
	file->bytes = (uint64_t)st.st_size;
	return 0;
}

static void close_file(const struct loader_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
}

int loader_read(const struct loader_file *file, uint64_t offset, void *ret, uint64_t bytes, struct vmm_error *err)
{
	uint8_t *at = ret;

	while (bytes) {
		ssize_t n = pread(file->fd, at, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "read %s: %s", file->path, strerror(errno));
		if (n == 0)
			return error_set(err, EIO, "%s: truncated, expected %llu bytes at %#llx", file->path,
					 (unsigned long long)bytes, (unsigned long long)offset);
		at += n;
		bytes -= (uint64_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

void *loader_place(const struct loader_file *file, uint64_t begin, uint64_t bytes, struct vmm_error *err)
{
	bool low = begin >= LOADER_KERNEL_MIN && begin < MEMORY_HOLE_BEGIN;
	void *host = low ? memory_at(file->memory, begin, bytes) : NULL;

	if (!host)
		error_set(err, ENOMEM,
			  "%s: the kernel needs %llu bytes at %#llx, not in the guest's low RAM of %llu MiB; give it more",
			  file->path, (unsigned long long)bytes, (unsigned long long)begin,
			  (unsigned long long)(memory_low_end(file->memory) >> 20));
	return host;
}

static int load_by_format(const struct loader_file *file, struct loaded_kernel *ret, struct vmm_error *err)
{
	uint8_t header[LOADER_HEADER_BYTES];
	int rc;

	if (file->bytes < sizeof(header))
		return error_set(err, ENOEXEC, "%s: %llu bytes are no kernel", file->path,
				 (unsigned long long)file->bytes);
	rc = loader_read(file, 0, header, sizeof(header), err);
	if (rc)
		return rc;
	if (memcmp(header, ELFMAG, SELFMAG) == 0)
		return elf_load(file, header, ret, err);
	if (memcmp(header + BOOT_SIGNATURE, "\x55\xaa", 2) == 0 && memcmp(header + HEADER_MAGIC, "HdrS", 4) == 0)
		return bzimage_load(file, header, ret, err);
	return error_set(err, ENOEXEC, "%s: expected an ELF vmlinux or a bzImage, found neither", file->path);
}

int loader_kernel(const struct memory *memory, const char *path, struct loaded_kernel *ret, struct vmm_error *err)
{
	struct loader_file file;
	int rc = open_file(&file, memory, path, err);

	rc = rc ?: load_by_format(&file, ret, err);
	close_file(&file);
	return rc;
}

static uint64_t align_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) & ~(to - 1);
}

/* Adds the parts up; with a place to put them also reads them: memory is still zero, which is the padding. */
static int each_part(const char *const *paths, uint32_t parts, uint8_t *to, uint64_t room, uint64_t *ret,
		     struct vmm_error *err)
{
	int rc = 0;

	*ret = 0;
	for (uint32_t i = 0; i < parts && rc == 0; i++) {
		uint64_t at = align_up(*ret, 4);
		struct loader_file file;

		rc = open_file(&file, NULL, paths[i], err);
		*ret = at + file.bytes;
		if (rc == 0 && file.bytes > UINT32_MAX)
			rc = error_set(err, EFBIG, "%s: an initrd has at most 4 GiB", paths[i]);
		if (rc == 0 && *ret > room)
			rc = error_set(err, EBUSY, "%s: grew while it was read", paths[i]);
		if (rc == 0 && to)
			rc = loader_read(&file, 0, to + at, file.bytes, err);
		close_file(&file);
	}
	return rc;
}

/* The highest place, between the kernel and the end of what the kernel can reach. */
static int place(const struct memory *memory, const struct loaded_kernel *kernel, uint64_t bytes, uint64_t *ret,
		 struct vmm_error *err)
{
	uint64_t end = memory_low_end(memory);
	uint64_t begin = align_up(kernel->end, PAGE);

	if (end > kernel->initrd_max + 1ULL)
		end = kernel->initrd_max + 1ULL;
	end &= ~(PAGE - 1);
	if (end < begin || align_up(bytes, PAGE) > end - begin)
		return error_set(err, ENOMEM,
				 "the initrd of %llu bytes does not fit: the kernel ends at %#llx and RAM at %#llx; give the guest more memory",
				 (unsigned long long)bytes, (unsigned long long)begin, (unsigned long long)end);
	*ret = end - align_up(bytes, PAGE);
	return 0;
}

int loader_initrd(const struct memory *memory, const struct loaded_kernel *kernel, const char *const *paths,
		  uint32_t parts, struct loaded_initrd *ret, struct vmm_error *err)
{
	uint8_t *host;
	uint64_t read;
	int rc = each_part(paths, parts, NULL, UINT64_MAX, &ret->bytes, err);

	if (rc || ret->bytes == 0)
		return rc;
	rc = place(memory, kernel, ret->bytes, &ret->address, err);
	if (rc)
		return rc;
	host = memory_at(memory, ret->address, ret->bytes);
	return each_part(paths, parts, host, ret->bytes, &read, err);
}
