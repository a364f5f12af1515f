// SPDX-License-Identifier: GPL-2.0-only
/* What a vCPU's thread does: enter the guest, serve the exit, again. */
#pragma once

#include "vm.h"

/* Run guest code until the machine ends. */
void run_vcpu(struct vmm *vm, struct vcpu *vcpu);
