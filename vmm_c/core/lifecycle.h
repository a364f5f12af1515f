// SPDX-License-Identifier: GPL-2.0-only
/* The machine's life: its threads start, pause, and end. vmm_start, vmm_wait and what is between them is here. */
#pragma once

#include "vm.h"

/* Stop the machine if it runs; no thread of it is left. */
void lifecycle_end(struct vmm *vm);
