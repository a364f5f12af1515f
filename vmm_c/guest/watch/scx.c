// SPDX-License-Identifier: GPL-2.0-only
#include "watch/scx.h"

#include <string.h>
#include <unistd.h>

#include "base/sysfile.h"

#define DIR "/sys/kernel/sched_ext"

bool scx_state(char *ret, size_t size)
{
	return sysfile_read(DIR "/state", ret, size) > 0;
}

static bool state_is(const char *state)
{
	char text[32];

	return scx_state(text, sizeof(text)) && strcmp(text, state) == 0;
}

bool scx_present(void)
{
	return access(DIR "/state", R_OK) == 0;
}

bool scx_enabled(void)
{
	return state_is("enabled");
}

bool scx_disabled(void)
{
	return state_is("disabled");
}

bool scx_ops_name(char *ret, size_t size)
{
	if (sysfile_read(DIR "/root/ops", ret, size) > 0)
		return true;
	ret[0] = '\0';
	return false;
}

int64_t scx_enable_seq(void)
{
	return sysfile_read_number(DIR "/enable_seq");
}
