// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_ERRORS_H
#define KTSTR_ERRORS_H

#include <stdbool.h>
#include <stdint.h>

/* Whose errors those that follow are: an op's, by its place, or -1; and whether they are only recorded. */
void errors_of(int32_t op, bool recorded);

/* Send an Error message and, unless it is only recorded, abort the run with KTSTR_END_ERROR. */
__attribute__((format(printf, 1, 2))) void run_error(const char *format, ...);

#endif
