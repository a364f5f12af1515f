// SPDX-License-Identifier: GPL-2.0-only
#include "wire/program.h"

const char *op_name(uint32_t kind)
{
	static const char *const names[] = {
#define OP(ID, symbol, number, Name, fields, flags, about) [number] = #Name,
#include "ops.def"
#undef OP
	};

	return kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind] : "unknown";
}

const char *work_name(uint32_t type)
{
	static const char *const names[] = {
#define WORK_TYPE(ID, symbol, number, Name, group, flags, shared, about) [number] = #Name,
#include "work_types.def"
	};

	return type < sizeof(names) / sizeof(names[0]) && names[type] ? names[type] : "unknown";
}
