// SPDX-License-Identifier: GPL-2.0-only
/* A guest's memory in a file: each byte at its offset in RAM, and what is zero a hole. */
#pragma once

#include "error.h"
#include "memory.h"

/* To an empty file, of memory that nobody writes to. */
int memory_file_write(const struct memory *memory, int fd, struct vmm_error *err);
/* Into memory that is still zero; -EINVAL when the file is of another size. */
int memory_file_read(const struct memory *memory, int fd, struct vmm_error *err);
