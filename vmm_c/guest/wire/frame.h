// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_FRAME_H
#define KTSTR_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

#define FRAME_MAX_BYTES (sizeof(struct ktstr_frame_header) + KTSTR_MAX_PAYLOAD)

/*
 * Write one frame whose payload is head followed by body. Returns its length, or 0 when the
 * payload exceeds KTSTR_MAX_PAYLOAD or the frame does not fit in size.
 */
size_t frame_build(uint8_t *ret, size_t size, uint16_t type, uint32_t seq, const void *head,
		   size_t head_bytes, const void *body, size_t body_bytes);

#endif
