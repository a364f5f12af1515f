// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_MOUNTS_H
#define KTSTR_MOUNTS_H

#include <stddef.h>

/*
 * Mount the file systems a scenario needs, and those a scheduler may want where the kernel has
 * them. Returns how many needed ones failed, naming them in why.
 */
int mounts_setup(char *why, size_t why_size);

#endif
