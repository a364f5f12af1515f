// SPDX-License-Identifier: GPL-2.0-only
/* Ops that hold others: what is checked and told of them. They are run by execute. */
#include <stdio.h>

#include "ops/scan.h"

static void describe_scope(const struct program *of, const struct ktstr_op *op, char *ret, size_t size)
{
	(void)of;
	snprintf(ret, size, "%s of %u ops", op->flags & KTSTR_OP_FLAG_STEP ? "step" : "block", op->body);
}

const struct op_ops op_scope = { .describe = describe_scope };

static bool check_repeat(struct scan *scan, const struct ktstr_op *op)
{
	return op->count || op->ns || scan_refuse(scan, "count and ns are 0: it would never end");
}

static void describe_repeat(const struct program *of, const struct ktstr_op *op, char *ret, size_t size)
{
	(void)of;
	if (op->count)
		snprintf(ret, size, "%u times", op->count);
	else
		snprintf(ret, size, "for %llu ns", (unsigned long long)op->ns);
}

const struct op_ops op_repeat = { .check = check_repeat, .describe = describe_repeat };
