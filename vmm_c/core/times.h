// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_TIMES_H
#define KTSTR_TIMES_H

#include "vcpu.h"

/* What the host's scheduler gave the vCPU's thread so far; zeros with -errno when it does not say. */
int times_read(const struct vcpu *vcpu, struct vmm_times *ret);

#endif
