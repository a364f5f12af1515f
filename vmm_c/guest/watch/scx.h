// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_SCX_H
#define KTSTR_SCX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the kernel says about sched_ext in /sys/kernel/sched_ext (6.12 and later). */
bool scx_present(void);
/* Its state in the kernel's word, such as "enabled"; false when it cannot be read. */
bool scx_state(char *ret, size_t size);
/* state is "enabled" */
bool scx_enabled(void);
/* state is "disabled": not on its way there either */
bool scx_disabled(void);
/* The name of the attached scheduler; false and empty when there is none. */
bool scx_ops_name(char *ret, size_t size);
/* Counts attaches since boot (-1 where the kernel has no such file). */
int64_t scx_enable_seq(void);

#endif
