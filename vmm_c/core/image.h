// SPDX-License-Identifier: GPL-2.0-only
/* Files that become guest memory: one that is open, and what is known of a kernel once it is there. */
#pragma once

#include <asm/bootparam.h>
#include <stdint.h>

#include "error.h"
#include "memory.h"

#define IMAGE_KERNEL_MIN 0x100000ULL /* below are the firmware's tables */
#define IMAGE_HEADER_BYTES 1024 /* of a kernel, by which its format is told */

struct loaded_kernel {
	uint64_t entry; /* its 64-bit entry, physical */
	uint64_t begin, end; /* memory it uses before it knows of any other */
	uint32_t initrd_max; /* last byte an initrd may have */
	uint32_t command_line_max; /* bytes, without the NUL */
	struct setup_header setup; /* as in a bzImage; its unpacker reads it in the zero page */
};

/* A file being read into memory: path is for errors. */
struct image {
	const struct memory *memory;
	int fd;
	uint64_t bytes;
	const char *path;
};

/* A regular file, else -EINVAL. To be closed in any case. */
int image_open(struct image *image, const struct memory *memory, const char *path, struct vmm_error *err);
void image_close(const struct image *image);
/* All of bytes at offset, else -EIO: the file is shorter. */
int image_read(const struct image *image, uint64_t offset, void *ret, uint64_t bytes, struct vmm_error *err);
/* Host address of a kernel's bytes, which have to be in low RAM, above the firmware's tables; else NULL. */
void *image_place(const struct image *image, uint64_t begin, uint64_t bytes, struct vmm_error *err);
