// SPDX-License-Identifier: GPL-2.0-only
/* KVM's own numbers (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD). */
#pragma once

#include "error.h"

/* Of a vCPU's or a VM's fd: up to capacity single numbers; gives how many there are, or -errno. */
int stats_read(int fd, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err);
