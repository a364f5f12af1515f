// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SCAN_H
#define KTSTR_SCAN_H

#include "ops/op.h"

struct block {
	uint32_t kind;
	uint32_t end; /* the first op that is not inside */
	struct made inside;
};

/* Whether something is there, by what the ops so far have made, and where it was made. */
struct state {
	bool there;
	struct made made;
};

/* A program that is being checked: how far, and what the ops so far have made. */
struct scan {
	const struct program *program;
	uint32_t index;
	uint32_t depth;
	struct block blocks[KTSTR_MAX_DEPTH + 1]; /* the first is the program */
	struct state scheduler;
	struct state cgroups[KTSTR_MAX_CGROUPS];
	struct state works[KTSTR_MAX_WORKS];
	struct state payloads[KTSTR_MAX_PAYLOADS];
	char *why;
	size_t why_size;
};

/* Why the op is refused, after its place and name: the field, what was found, what was expected. Gives false. */
__attribute__((format(printf, 2, 3))) bool scan_refuse(struct scan *scan, const char *format, ...);
/* The op makes this, which must not be there yet; and it needs that, which must. */
bool scan_make(struct scan *scan, struct state *state, const char *what);
bool scan_need(struct scan *scan, const struct state *state, const char *what);
/* Whether a selector's scope means it. */
bool scan_matches(const struct scan *scan, const struct state *state, const struct ktstr_op *op);

#endif
