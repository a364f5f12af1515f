/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KTSTR_SCX_DUMP_H
#define KTSTR_SCX_DUMP_H

/*
 * What sched_ext prints of the machine's state when it gives up on a scheduler: each line is the
 * tracepoint sched_ext_dump (kernel/sched/ext.c, dump_line), whatever the loader does with it.
 */

/* Have it kept from now on; once. Without the tracepoint there is nothing to keep, and nothing is said. */
void scx_dump_begin(void);
/* Send what was kept since the last time. */
void scx_dump_send(void);

#endif
