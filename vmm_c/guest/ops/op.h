// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_OP_H
#define KTSTR_OP_H

#include <stdbool.h>

#include "base/made.h"
#include "wire/program.h"

/* Fields that an op may take, in the words of ops.def. */
enum op_fields {
	OP_PAYLOAD = 1 << 0,
	OP_CGROUP = 1 << 1,
	OP_WORK = 1 << 2,
	OP_PHASE = 1 << 3,
	OP_WHO = 1 << 4,
	OP_MASK = 1 << 5,
	OP_PATH = 1 << 6,
	OP_TEXT = 1 << 7,
	OP_COUNT = 1 << 8,
	OP_NS = 1 << 9,
	OP_INTERVAL = 1 << 10,
	OP_JITTER = 1 << 11,
	OP_BODY = 1 << 12,
	OP_RESTORE = 1 << 13,
	OP_STEP = 1 << 14,
	OP_FILE = 1 << 15, /* in the place of a path: a name without slashes */
};

enum op_flags {
	OP_MAKES = 1, /* what it makes lives until its scope ends */
	OP_TAKES_DOWN = 2, /* run also when the run is cut short */
};

/* An op that is being run: which of them, and where it stands. */
struct moment {
	const struct program *program;
	uint32_t index;
	struct made here;
};

struct scan;

struct op_ops {
	/* What the fields alone do not say: what has to be made before. NULL: nothing. */
	bool (*check)(struct scan *scan, const struct ktstr_op *op);
	/* NULL for blocks. */
	void (*run)(const struct moment *now, const struct ktstr_op *op);
	/* What is special about this one, for whoever reads the record. NULL: nothing. */
	void (*describe)(const struct program *program, const struct ktstr_op *op, char *ret, size_t size);
};

/* A row of ops.def, and what does it. */
struct op_type {
	uint32_t kind;
	const char *name;
	uint32_t fields;
	uint32_t flags;
	const struct op_ops *ops;
};

/* NULL for a number that is none. */
const struct op_type *op_type(uint32_t kind);

#endif
