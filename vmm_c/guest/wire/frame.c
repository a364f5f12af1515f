// SPDX-License-Identifier: GPL-2.0-only
#include "wire/frame.h"

#include <string.h>

#include "wire/crc32.h"

size_t frame_build(uint8_t *ret, size_t size, uint16_t type, uint32_t seq, const void *head,
		   size_t head_bytes, const void *body, size_t body_bytes)
{
	struct ktstr_frame_header header = {
		.magic = KTSTR_FRAME_MAGIC,
		.type = type,
		.seq = seq,
		.bytes = (uint32_t)(head_bytes + body_bytes),
	};
	size_t total = sizeof(header) + head_bytes + body_bytes;
	uint8_t *payload = ret + sizeof(header);

	if (head_bytes > KTSTR_MAX_PAYLOAD || body_bytes > KTSTR_MAX_PAYLOAD - head_bytes || total > size)
		return 0;
	if (head_bytes)
		memcpy(payload, head, head_bytes);
	if (body_bytes)
		memcpy(payload + head_bytes, body, body_bytes);
	header.crc = crc32_update(0, &header, offsetof(struct ktstr_frame_header, crc));
	header.crc = crc32_update(header.crc, payload, head_bytes + body_bytes);
	memcpy(ret, &header, sizeof(header));
	return total;
}
