// SPDX-License-Identifier: GPL-2.0-only
/* All of some bytes to or from a place in a file of a snapshot. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

int snapshot_file_write(int fd, const void *data, size_t bytes, off_t at, struct vmm_error *err);
/* -EINVAL when the file is too short. */
int snapshot_file_read(int fd, void *ret, size_t bytes, off_t at, struct vmm_error *err);
