// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, eight bytes at a time; of more than one piece when seed is the last result, 0 at first. */
uint64_t hash_bytes(uint64_t seed, const void *data, size_t bytes);
