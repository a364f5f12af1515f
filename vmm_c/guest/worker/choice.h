// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CHOICE_H
#define KTSTR_CHOICE_H

#include "base/made.h"
#include "wire/program.h"

/* Which workers: a selector, as an op that stands in a step means it; or all that one scope made. */
struct choice {
	struct ktstr_selector who;
	uint32_t step;
	uint32_t only_scope; /* 0: any */
};

#endif
