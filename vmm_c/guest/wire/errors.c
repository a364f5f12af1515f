// SPDX-License-Identifier: GPL-2.0-only
#include "wire/errors.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/run.h"
#include "wire/channel.h"

static struct ktstr_msg_error whose = { .op = -1 };
static uint32_t sent;

void errors_of(int32_t op, bool recorded)
{
	whose = (struct ktstr_msg_error){ .op = op, .recorded = recorded };
}

void run_error(const char *format, ...)
{
	char text[KTSTR_MAX_TEXT_BYTES];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	if (sent++ < KTSTR_MAX_ERRORS)
		channel_send(KTSTR_MSG_ERROR, &whose, sizeof(whose), text, n > 0 ? (size_t)n : 0);
	if (!whose.recorded)
		run_abort(KTSTR_END_ERROR);
}
