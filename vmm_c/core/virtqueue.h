// SPDX-License-Identifier: GPL-2.0-only
/*
 * A split virtqueue (virtio 1.2, 2.7) seen from the device, without indirect descriptors and event
 * indices. Everything in the rings is the guest's word: each descriptor is copied once, checked, and
 * becomes host addresses that stay good.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"
#include "memory.h"

#define VIRTQUEUE_MAX_SIZE 32
#define VIRTQUEUE_CHAIN_BYTES (1U << 20) /* Linux sends at most 32 KiB a buffer */

struct virtqueue_state {
	/* The second part of the common configuration (virtio 1.2, 4.1.4.3), as it is laid out there. */
	uint16_t size, vector, enabled, notify_off;
	uint64_t desc, avail, used;

	uint16_t next_avail, next_used;
};

struct virtqueue {
	struct virtqueue_state state;
	const struct memory *memory;
	const uint8_t *desc; /* host addresses of the rings while enabled */
	const uint16_t *avail;
	uint16_t *used;
};

/* One buffer of the driver: first what the device reads, then what it may write. */
struct virtqueue_chain {
	uint16_t head;
	uint16_t readable;
	uint16_t writable;
	uint32_t readable_bytes;
	uint32_t writable_bytes;
	struct iovec segments[VIRTQUEUE_MAX_SIZE];
};

void virtqueue_reset(struct virtqueue *queue, const struct memory *memory);
/* Find the rings in memory: -EINVAL when the driver's numbers describe none. */
int virtqueue_enable(struct virtqueue *queue, struct vmm_error *err);
/* Has the driver made buffers available that were not taken yet? */
bool virtqueue_waiting(const struct virtqueue *queue);
/* Take the next buffer: 1 and *ret filled, 0 when there is none, -EPROTO for a ring no driver writes. */
int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *ret, struct vmm_error *err);
/* Give the buffer back with so many bytes written into it. */
void virtqueue_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written);
/* Whether the driver should ring when it adds buffers; look again after turning it on. */
void virtqueue_want_doorbell(struct virtqueue *queue, bool wanted);
bool virtqueue_driver_wants_interrupt(const struct virtqueue *queue);
/* Bytes moved between the parts of a chain and a buffer; at most the chain's. */
uint32_t virtqueue_chain_read(const struct virtqueue_chain *chain, void *ret, uint32_t bytes);
uint32_t virtqueue_chain_write(const struct virtqueue_chain *chain, const void *data, uint32_t bytes);
