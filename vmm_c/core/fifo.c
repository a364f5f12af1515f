// SPDX-License-Identifier: GPL-2.0-only
#include "fifo.h"

size_t fifo_put(struct fifo *fifo, const uint8_t *data, size_t bytes)
{
	size_t n = 0;

	for (; n < bytes && fifo->count < FIFO_BYTES; n++, fifo->count++)
		fifo->bytes[(fifo->head + fifo->count) % FIFO_BYTES] = data[n];
	return n;
}

size_t fifo_get(struct fifo *fifo, uint8_t *ret, size_t bytes)
{
	size_t n = 0;

	for (; n < bytes && fifo->count; n++, fifo->count--) {
		ret[n] = fifo->bytes[fifo->head];
		fifo->head = (fifo->head + 1) % FIFO_BYTES;
	}
	return n;
}
