// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CLOCK_H
#define KTSTR_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC now. */
uint64_t now_ns(void);

#endif
