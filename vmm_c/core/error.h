// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <stdarg.h>

#include "../include/ktstr_vmm.h" /* struct vmm_error */

/* Fill *err and give -code, so that a caller can return it. */
__attribute__((format(printf, 3, 4))) int error_set(struct vmm_error *err, int code,
						    const char *format, ...);
int error_vset(struct vmm_error *err, int code, const char *format, va_list args);
