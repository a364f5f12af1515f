// SPDX-License-Identifier: GPL-2.0-only
#include "loader.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "bzimage.h"
#include "elf_kernel.h"

#define PAGE 4096ULL
#define BOOT_SIGNATURE 0x1fe /* 55 aa (Documentation/arch/x86/boot.rst) */
#define HEADER_MAGIC 0x202

static int load_by_format(const struct image *image, struct loaded_kernel *ret, struct vmm_error *err)
{
	uint8_t header[IMAGE_HEADER_BYTES];
	int rc;

	if (image->bytes < sizeof(header))
		return error_set(err, ENOEXEC, "%s: %llu bytes are no kernel", image->path,
				 (unsigned long long)image->bytes);
	rc = image_read(image, 0, header, sizeof(header), err);
	if (rc)
		return rc;
	if (memcmp(header, ELFMAG, SELFMAG) == 0)
		return elf_kernel_load(image, header, ret, err);
	if (memcmp(header + BOOT_SIGNATURE, "\x55\xaa", 2) == 0 && memcmp(header + HEADER_MAGIC, "HdrS", 4) == 0)
		return bzimage_load(image, header, ret, err);
	return error_set(err, ENOEXEC, "%s: expected an ELF vmlinux or a bzImage, found neither", image->path);
}

int loader_kernel(const struct memory *memory, const char *path, struct loaded_kernel *ret, struct vmm_error *err)
{
	struct image image;
	int rc = image_open(&image, memory, path, err);

	rc = rc ?: load_by_format(&image, ret, err);
	image_close(&image);
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
		struct image image;

		rc = image_open(&image, NULL, paths[i], err);
		*ret = at + image.bytes;
		if (rc == 0 && image.bytes > UINT32_MAX)
			rc = error_set(err, EFBIG, "%s: an initrd has at most 4 GiB", paths[i]);
		if (rc == 0 && *ret > room)
			rc = error_set(err, EBUSY, "%s: grew while it was read", paths[i]);
		if (rc == 0 && to)
			rc = image_read(&image, 0, to + at, image.bytes, err);
		image_close(&image);
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
