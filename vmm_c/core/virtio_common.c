// SPDX-License-Identifier: GPL-2.0-only
#include "virtio_common.h"

#include <stdbool.h>
#include <string.h>

#define QUEUE_PART 0x18U /* the structure ends with the registers of the queue selected */
#define SETTABLE_STATUS                                                                                    \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

_Static_assert(offsetof(struct virtio_registers, driver_features) == QUEUE_PART &&
		       QUEUE_PART + offsetof(struct virtqueue_state, next_avail) == VIRTIO_COMMON_BYTES,
	       "the layouts are the specification's");

static struct virtqueue *selected(struct virtio_common *common)
{
	uint32_t index = common->registers.queue_select;

	return index < common->queue_count ? &common->queues[index] : NULL;
}

static uint32_t feature_half(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

void virtio_common_read(struct virtio_common *common, uint32_t offset, void *data, uint32_t len)
{
	struct virtio_registers registers = common->registers;
	const struct virtqueue *queue = selected(common);
	uint8_t bytes[VIRTIO_COMMON_BYTES] = { 0 };

	registers.device_feature = feature_half(common->features, registers.device_feature_select);
	registers.driver_feature = feature_half(registers.driver_features, registers.driver_feature_select);
	registers.num_queues = (uint16_t)common->queue_count;
	memcpy(bytes, &registers, QUEUE_PART);
	if (queue) /* one that is not there has size 0 */
		memcpy(bytes + QUEUE_PART, &queue->state, VIRTIO_COMMON_BYTES - QUEUE_PART);
	memcpy(data, bytes + offset, len);
}

static void set_driver_features(struct virtio_registers *registers, uint32_t value)
{
	uint32_t shift = 32 * registers->driver_feature_select;

	if (registers->status & VIRTIO_STATUS_FEATURES_OK || registers->driver_feature_select > 1)
		return;
	registers->driver_features &= ~(0xffffffffULL << shift);
	registers->driver_features |= (uint64_t)value << shift;
}

/* Bits only ever get set, until a reset; FEATURES_OK stays clear for features that do not fit. */
static enum virtio_event set_status(struct virtio_common *common, uint8_t value)
{
	uint64_t wanted = common->registers.driver_features;
	uint8_t *status = &common->registers.status;
	uint8_t before = *status;

	if (value == 0)
		return VIRTIO_RESET;
	if (!(before & VIRTIO_STATUS_FEATURES_OK) && (!(wanted & VIRTIO_F_VERSION_1) || wanted & ~common->features))
		value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	*status |= value & SETTABLE_STATUS;
	if (!(*status & VIRTIO_STATUS_FEATURES_OK) || before & VIRTIO_STATUS_DRIVER_OK)
		return VIRTIO_NOTHING;
	*status |= value & VIRTIO_STATUS_DRIVER_OK;
	return *status & VIRTIO_STATUS_DRIVER_OK ? VIRTIO_STARTED : VIRTIO_NOTHING;
}

static uint16_t valid_vector(const struct virtio_common *common, uint64_t value)
{
	return value < common->vectors ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static enum virtio_event enable_queue(const struct virtio_common *common, struct virtqueue *queue,
				      struct vmm_error *err)
{
	if (common->registers.status & VIRTIO_STATUS_FEATURES_OK && virtqueue_enable(queue, err))
		return VIRTIO_BROKEN;
	return VIRTIO_NOTHING;
}

/* Of desc, avail and used: 64 bits each, written whole or by halves. */
static void set_place(struct virtqueue_state *state, uint32_t offset, uint64_t value, uint32_t len)
{
	if (offset >= offsetof(struct virtqueue_state, desc) && (len == 4 || len == 8) && offset % len == 0)
		memcpy((uint8_t *)state + offset, &value, len);
}

/* Size and places are fixed once a queue is enabled; enabling is the last thing a driver does to it. */
static enum virtio_event write_queue(struct virtio_common *common, uint32_t offset, uint64_t value, uint32_t len,
				     struct vmm_error *err)
{
	struct virtqueue *queue = selected(common);
	bool fixed;

	if (!queue)
		return VIRTIO_NOTHING;
	fixed = queue->state.enabled;
	switch (offset) {
	case offsetof(struct virtqueue_state, size):
		if (len == 2 && !fixed)
			queue->state.size = (uint16_t)value;
		break;
	case offsetof(struct virtqueue_state, vector):
		if (len == 2)
			queue->state.vector = valid_vector(common, value);
		break;
	case offsetof(struct virtqueue_state, enabled):
		if (len == 2 && value == 1 && !fixed)
			return enable_queue(common, queue, err);
		break;
	default:
		if (!fixed)
			set_place(&queue->state, offset, value, len);
	}
	return VIRTIO_NOTHING;
}

enum virtio_event virtio_common_write(struct virtio_common *common, uint32_t offset, const void *data, uint32_t len,
				      struct vmm_error *err)
{
	struct virtio_registers *registers = &common->registers;
	uint64_t value = 0;

	memcpy(&value, data, len);
	if (offset >= QUEUE_PART)
		return write_queue(common, offset - QUEUE_PART, value, len, err);
	switch (offset) {
	case offsetof(struct virtio_registers, device_feature_select):
		if (len == 4)
			registers->device_feature_select = (uint32_t)value;
		break;
	case offsetof(struct virtio_registers, driver_feature_select):
		if (len == 4)
			registers->driver_feature_select = (uint32_t)value;
		break;
	case offsetof(struct virtio_registers, driver_feature):
		if (len == 4)
			set_driver_features(registers, (uint32_t)value);
		break;
	case offsetof(struct virtio_registers, config_vector):
		if (len == 2)
			registers->config_vector = valid_vector(common, value);
		break;
	case offsetof(struct virtio_registers, status):
		if (len == 1)
			return set_status(common, (uint8_t)value);
		break;
	case offsetof(struct virtio_registers, queue_select):
		if (len == 2)
			registers->queue_select = (uint16_t)value;
		break;
	}
	return VIRTIO_NOTHING;
}
