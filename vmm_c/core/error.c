// SPDX-License-Identifier: GPL-2.0-only
#include "error.h"

#include <stdio.h>

int error_vset(struct vmm_error *err, int code, const char *format, va_list args)
{
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), format, args);
	return -code;
}

int error_set(struct vmm_error *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_vset(err, code, format, args);
	va_end(args);
	return -code;
}
