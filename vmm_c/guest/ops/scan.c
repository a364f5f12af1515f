// SPDX-License-Identifier: GPL-2.0-only
#include "ops/scan.h"

#include <stdarg.h>
#include <stdio.h>

bool scan_refuse(struct scan *scan, const char *format, ...)
{
	int n = snprintf(scan->why, scan->why_size, "op %u, %s: ", scan->index,
			 op_name(scan->program->ops[scan->index].kind));
	va_list args;

	va_start(args, format);
	if (n > 0 && (size_t)n < scan->why_size)
		vsnprintf(scan->why + n, scan->why_size - (size_t)n, format, args);
	va_end(args);
	return false;
}

static const struct made *here(const struct scan *scan)
{
	return &scan->blocks[scan->depth].inside;
}

bool scan_make(struct scan *scan, struct state *state, const char *what)
{
	if (state->there)
		return scan_refuse(scan, "%s is there already", what);
	*state = (struct state){ true, *here(scan) };
	return true;
}

bool scan_need(struct scan *scan, const struct state *state, const char *what)
{
	return state->there || scan_refuse(scan, "%s is not there", what);
}

bool scan_matches(const struct scan *scan, const struct state *state, const struct ktstr_op *op)
{
	return state->there && made_matches(&state->made, op->who.scope, here(scan)->step);
}
