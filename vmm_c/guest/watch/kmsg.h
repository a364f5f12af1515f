// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_KMSG_H
#define KTSTR_KMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One record of /dev/kmsg: "prio,seq,usec,flags;text\n", then continuation lines. Gives the text
 * without its line end, and when it was logged. False when it is no record.
 */
bool kmsg_parse(const char *record, size_t bytes, const char **text, size_t *text_bytes, uint64_t *usec);

/* Once, early: keep, from now on, every kernel message about sched_ext, every warning, and what is killed for memory. */
void kmsg_begin(void);
/* Read what is there now. */
void kmsg_drain(void);
/* Whether a kept message since the last kmsg_forget contains this. */
bool kmsg_recent_has(const char *words);
/* The text of those messages, one a line. */
const char *kmsg_recent(void);
void kmsg_forget(void);
/* Send what is kept: what came so far, or all of it with the end. */
void kmsg_send(bool last);

#endif
