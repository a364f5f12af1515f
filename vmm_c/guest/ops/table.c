// SPDX-License-Identifier: GPL-2.0-only
#include "ops/op.h"

#define OP(ID, symbol, number, Name, fields, flags, about) extern const struct op_ops op_##symbol;
#include "ops.def"
#undef OP

#define PAYLOAD OP_PAYLOAD
#define CGROUP OP_CGROUP
#define WORK OP_WORK
#define PHASE OP_PHASE
#define WHO OP_WHO
#define MASK OP_MASK
#define PATH OP_PATH
#define TEXT OP_TEXT
#define COUNT OP_COUNT
#define NS OP_NS
#define INTERVAL OP_INTERVAL
#define JITTER OP_JITTER
#define BODY OP_BODY
#define RESTORE OP_RESTORE
#define STEP OP_STEP
#define FILE OP_FILE
#define MAKES OP_MAKES
#define TAKES_DOWN OP_TAKES_DOWN

static const struct op_type types[] = {
#define OP(ID, symbol, number, Name, fields_, flags_, about) \
	[number] = { number, #Name, fields_, flags_, &op_##symbol },
#include "ops.def"
#undef OP
};

const struct op_type *op_type(uint32_t kind)
{
	return kind < sizeof(types) / sizeof(types[0]) && types[kind].ops ? &types[kind] : NULL;
}
