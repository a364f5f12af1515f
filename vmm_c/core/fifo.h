// SPDX-License-Identifier: GPL-2.0-only
/* A bounded byte queue that is plain data: what waits to be read by the guest. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FIFO_BYTES 4096

struct fifo {
	uint32_t head;
	uint32_t count;
	uint8_t bytes[FIFO_BYTES];
};

/* Both give how many bytes were moved. */
size_t fifo_put(struct fifo *fifo, const uint8_t *data, size_t bytes);
size_t fifo_get(struct fifo *fifo, uint8_t *ret, size_t bytes);
