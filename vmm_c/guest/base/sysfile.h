// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SYSFILE_H
#define KTSTR_SYSFILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* No file the agent reads whole is longer. */
#define KTSTR_SYSFILE_MAX (16 << 20)

/*
 * Read a small kernel file into ret, terminated, its last newline dropped. Returns the length, or
 * -errno (-EFBIG when it does not fit).
 */
ssize_t sysfile_read(const char *path, char *ret, size_t size);
/* The same for a file of any length, to be freed, newlines kept; NULL with errno when it cannot be read. */
char *sysfile_read_whole(const char *path);
/* Write text in one write(2), as kernel files want it, in place of what a file held. Returns 0 or -errno. */
int sysfile_write(const char *path, const char *text);
/* Read a file that holds one decimal number; -1 when there is none. */
int64_t sysfile_read_number(const char *path);

#endif
