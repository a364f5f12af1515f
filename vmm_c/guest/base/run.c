// SPDX-License-Identifier: GPL-2.0-only
#include "base/run.h"

static uint64_t deadline = UINT64_MAX;
static uint64_t scenario_start;
static enum ktstr_end status = KTSTR_END_OK;

void run_set_deadline(uint64_t started, uint64_t deadline_ns)
{
	deadline = started + deadline_ns;
}

uint64_t run_deadline(void)
{
	return deadline;
}

void run_begin_scenario(void)
{
	scenario_start = now_ns();
}

uint64_t run_at_ns(void)
{
	return scenario_start ? now_ns() - scenario_start : 0;
}

bool run_aborting(void)
{
	return status != KTSTR_END_OK;
}

enum ktstr_end run_status(void)
{
	return status;
}

void run_abort(enum ktstr_end reason)
{
	if (status == KTSTR_END_OK || reason == KTSTR_END_DEADLINE)
		status = reason;
}

bool run_check_deadline(void)
{
	if (status != KTSTR_END_DEADLINE && now_ns() >= deadline)
		run_abort(KTSTR_END_DEADLINE);
	return run_aborting();
}
