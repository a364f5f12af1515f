// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PRINTK_H
#define KTSTR_PRINTK_H

#include <stdbool.h>

/*
 * What BPF programs print with bpf_printk: lines of the kernel's trace, of which the first and the last
 * are kept. Without tracing there is none.
 */

/* Keep, from now on, what is printed; once. */
void printk_begin(void);
/* Send what is kept: what came so far, or all of it with the end. */
void printk_send(bool last);

#endif
