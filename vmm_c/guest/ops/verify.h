// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_VERIFY_H
#define KTSTR_VERIFY_H

#include <stdbool.h>

#include "wire/program.h"

/*
 * Check every size, offset, id and count once; after this nothing needs to be checked again.
 * data must be 8-byte aligned. On failure says why in why and returns false.
 */
bool program_open(const void *data, size_t bytes, struct program *ret, char *why, size_t why_size);

#endif
