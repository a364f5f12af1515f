// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_HEADER_H
#define KTSTR_HEADER_H

#include <stdbool.h>

#include "wire/program.h"

/* Where to say why something is refused. */
struct why {
	char *text;
	size_t size;
};

/* Say why. Gives false. */
__attribute__((format(printf, 2, 3))) bool why_refuse(struct why *why, const char *format, ...);

/* Check the header and the sizes of the tables, and find them. */
bool header_open(const void *data, size_t bytes, struct program *ret, struct why *why);

/* Check what the tables but the ops hold: names, masks, works, workers, payloads. */
bool tables_check(const struct program *program, struct why *why);

#endif
