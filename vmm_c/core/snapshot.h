// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine that stands still as two files, and another machine that goes on from them. The state file
 * is one struct saved_machine and a struct vcpu_state for each vCPU, as this build lays them out.
 */
#pragma once

#include "vm.h"

/* FNV-1a, eight bytes at a time; of more than one piece when seed is the last result, 0 at first. */
uint64_t snapshot_hash(uint64_t seed, const void *data, size_t bytes);
/* Is the memory file to be mapped, rather than read into memory of the machine's own? */
bool snapshot_shares_memory(const struct vmm_config *config);
/* Fill memory that is still zero. */
int snapshot_read_memory(const struct memory *memory, int fd, struct vmm_error *err);
/* Have a machine that was made from the same configuration go on where the saved one stood; memory is there. */
int snapshot_restore(struct vmm *vm, int state_fd, struct vmm_error *err);
