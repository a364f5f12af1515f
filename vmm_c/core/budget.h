// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <stdint.h>

/*
 * How many host CPUs the vCPUs' threads may run on in all: those they are pinned to, and those that the calling
 * thread, of which the others inherit it, may use. pin has the CPU of each vCPU, -1 anywhere, or is NULL.
 */
uint32_t budget_cpus(const int32_t *pin, uint32_t cpus);
