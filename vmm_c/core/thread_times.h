// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include "../include/ktstr_vmm.h" /* struct vmm_times */

/* What the host's scheduler gave a thread that lives so far; zeros with -errno when it does not say. */
int thread_times(pthread_t thread, pid_t tid, struct vmm_times *ret);
