// SPDX-License-Identifier: GPL-2.0-only
/* The numbers of work_types.def and ops.def for C; the host has them from ktstr.record. */
#ifndef KTSTR_TABLES_H
#define KTSTR_TABLES_H

enum ktstr_work_type {
#define WORK_TYPE(ID, symbol, number, Name, group, flags, shared, about) KTSTR_WORK_##ID = number,
#include "work_types.def"
};

enum ktstr_op_kind {
#define OP(ID, symbol, number, Name, fields, flags, about) KTSTR_OP_##ID = number,
#include "ops.def"
#undef OP
};

#endif
