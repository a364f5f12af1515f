// SPDX-License-Identifier: GPL-2.0-only
/* A machine that stands still as two files, memory and state, and another machine that goes on from them. */
#ifndef KTSTR_SNAPSHOT_H
#define KTSTR_SNAPSHOT_H

#include "vm.h"

/* Have a machine that was made from the same configuration go on where the saved one stood; memory is there. */
int snapshot_restore(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err);

#endif
