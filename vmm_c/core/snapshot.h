// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine that stands still as two files, and another that goes on from them. The state file is one struct
 * saved_machine and a struct vcpu_state for each vCPU, as this build lays them out.
 */
#pragma once

#include "vm.h"

#define SNAPSHOT_MEMORY_OPTIONS (VMM_HUGE_PAGES | VMM_POPULATE) /* nothing that the guest sees */

/* Note when the TSC begins: before the first vCPU is made. */
int snapshot_note_origin(struct vmm *vm, struct vmm_error *err);
/* Have a machine that was made from the same configuration go on where the saved one stood; memory is there. */
int snapshot_restore(struct vmm *vm, int state_fd, struct vmm_error *err);
