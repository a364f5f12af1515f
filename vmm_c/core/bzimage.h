// SPDX-License-Identifier: GPL-2.0-only
/* The 64-bit boot protocol (Documentation/arch/x86/boot.rst): everything is said in the setup header. */
#pragma once

#include "image.h"

/* header is the file's beginning, of IMAGE_HEADER_BYTES. */
int bzimage_load(const struct image *image, const uint8_t *header, struct loaded_kernel *ret, struct vmm_error *err);
