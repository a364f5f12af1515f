// SPDX-License-Identifier: GPL-2.0-only
/* The kernel, an ELF vmlinux or a bzImage, and the initrd: found by their formats and put where they belong. */
#pragma once

#include "image.h"

struct loaded_initrd {
	uint64_t address;
	uint64_t bytes;
};

int loader_kernel(const struct memory *memory, const char *path, struct loaded_kernel *ret, struct vmm_error *err);
/*
 * The parts one after the other, each beginning at a multiple of 4 as cpio archives do, as high as
 * RAM and kernel allow, so that they end with a page.
 */
int loader_initrd(const struct memory *memory, const struct loaded_kernel *kernel, const char *const *paths,
		  uint32_t parts, struct loaded_initrd *ret, struct vmm_error *err);
