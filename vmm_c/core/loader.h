// SPDX-License-Identifier: GPL-2.0-only
/* Files that become guest memory: the kernel, an ELF vmlinux or a bzImage, and the initrd. */
#pragma once

#include <asm/bootparam.h>
#include <stdint.h>

#include "error.h"
#include "memory.h"

#define LOADER_KERNEL_MIN 0x100000ULL /* below are the firmware's tables */

struct loaded_kernel {
	uint64_t entry; /* its 64-bit entry, physical */
	uint64_t begin, end; /* memory it uses before it knows of any other */
	uint32_t initrd_max; /* last byte an initrd may have */
	uint32_t command_line_max; /* bytes, without the NUL */
	struct setup_header setup; /* as in a bzImage; its unpacker reads it in the zero page */
};

struct loaded_initrd {
	uint64_t address;
	uint64_t bytes;
};

/* A file being read into memory: path is for errors. */
struct loader_file {
	const struct memory *memory;
	int fd;
	uint64_t bytes;
	const char *path;
};

/* All of bytes at offset, else -EIO: the file is shorter. */
int loader_read(const struct loader_file *file, uint64_t offset, void *ret, uint64_t bytes, struct vmm_error *err);
/* Host address of a kernel's bytes, which have to be in low RAM, above the firmware's tables; else NULL. */
void *loader_place(const struct loader_file *file, uint64_t begin, uint64_t bytes, struct vmm_error *err);

int loader_kernel(const struct memory *memory, const char *path, struct loaded_kernel *ret, struct vmm_error *err);
/*
 * The parts one after the other, each beginning at a multiple of 4 as cpio archives do, as high as
 * RAM and kernel allow, so that they end with a page.
 */
int loader_initrd(const struct memory *memory, const struct loaded_kernel *kernel, const char *const *paths,
		  uint32_t parts, struct loaded_initrd *ret, struct vmm_error *err);

/* By format; header is the file's beginning. */
#define LOADER_HEADER_BYTES 1024
int elf_load(const struct loader_file *file, const uint8_t *header, struct loaded_kernel *ret, struct vmm_error *err);
int bzimage_load(const struct loader_file *file, const uint8_t *header, struct loaded_kernel *ret,
		 struct vmm_error *err);
