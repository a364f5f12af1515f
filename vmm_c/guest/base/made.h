// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_MADE_H
#define KTSTR_MADE_H

#include <stdbool.h>
#include <stdint.h>

#include "ktstr_program.h"

/* Where in the program something was made: the innermost Scope and the innermost step around it, by their ids. */
struct made {
	uint32_t scope; /* the place of the op plus 1; 0 outside of all */
	uint32_t step;
};

/* Whether a selector's scope means it, for an op that stands in this step. */
static inline bool made_matches(const struct made *made, uint32_t scope, uint32_t step)
{
	if (scope == KTSTR_SCOPE_BACKDROP)
		return made->step == 0;
	return scope != KTSTR_SCOPE_STEP || (step != 0 && made->step == step);
}

#endif
