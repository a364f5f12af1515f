// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CHANNEL_H
#define KTSTR_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

/*
 * Open the virtio port named ktstr.0, waiting up to timeout_ns for the kernel to announce it. On
 * failure says why in why.
 */
bool channel_open(uint64_t timeout_ns, char *why, size_t why_size);

/* Queue one frame: head, then body. A payload over the limit is a bug of the caller: it ends the run. */
void channel_send(enum ktstr_msg type, const void *head, size_t head_bytes, const void *body,
		  size_t body_bytes);
/* Queue a text of any length, in frames that have this head and so many bytes of it at most. */
void channel_send_text(enum ktstr_msg type, const void *head, size_t head_bytes, const char *text,
		       size_t bytes, size_t most);
/* Hand everything queued to the host. */
void channel_flush(void);

/* Block until the host has sent something, with no timer running. */
void channel_wait(void);
/* Read bytes that the host sends; fewer only when none came for pause_ms. Ends the run when it hangs up. */
size_t channel_receive(void *ret, size_t bytes, int pause_ms);

/*
 * For the deadline guard, from its own process: flush what is queued, then send End, unless the
 * agent was stopped in the middle of a frame.
 */
void channel_end_from_outside(const struct ktstr_msg_end *end);

/* Power the machine off; what else PID 1 could do is panic the kernel. */
__attribute__((noreturn)) void power_off(void);

#endif
