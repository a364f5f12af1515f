// SPDX-License-Identifier: GPL-2.0-only
/* A kernel as the linker leaves it: vmlinux, an ELF executable. */
#pragma once

#include "image.h"

/* header is the file's beginning, of IMAGE_HEADER_BYTES. */
int elf_kernel_load(const struct image *image, const uint8_t *header, struct loaded_kernel *ret, struct vmm_error *err);
