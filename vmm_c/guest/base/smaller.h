// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SMALLER_H
#define KTSTR_SMALLER_H

#include <stdint.h>

static inline uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
