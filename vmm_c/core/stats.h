// SPDX-License-Identifier: GPL-2.0-only
/* The numbers that KVM keeps (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD). */
#pragma once

#include "error.h"

/* Up to capacity single numbers of a vCPU's or a VM's fd; gives how many there are. */
int stats_read(int fd, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err);
