// SPDX-License-Identifier: GPL-2.0-only
#include "virtio_common.h"

#include <string.h>

/* The structure as the guest sees it; the names are the specification's. */
struct common {
	uint32_t device_feature_select;
	uint32_t device_feature;
	uint32_t driver_feature_select;
	uint32_t driver_feature;
	uint16_t config_msix_vector;
	uint16_t num_queues;
	uint8_t device_status;
	uint8_t config_generation; /* the configuration never changes */
	uint16_t queue_select;
	uint16_t queue_size;
	uint16_t queue_msix_vector;
	uint16_t queue_enable;
	uint16_t queue_notify_off; /* one doorbell for all */
	uint64_t queue_desc;
	uint64_t queue_driver;
	uint64_t queue_device;
};

_Static_assert(sizeof(struct common) == VIRTIO_COMMON_BYTES, "the layout is the specification's");

#define SETTABLE_STATUS                                                                                    \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

static uint64_t offered(const struct virtio_pci *virtio)
{
	return virtio->kind->features | VIRTIO_F_VERSION_1;
}

static const struct virtqueue *selected(const struct virtio_pci *virtio)
{
	uint32_t index = virtio->registers.queue_select;

	return index < virtio->kind->queues ? &virtio->queues[index] : NULL;
}

static uint32_t feature_half(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

void virtio_common_read(const struct virtio_pci *virtio, uint32_t offset, void *data, uint32_t len)
{
	const struct virtio_registers *registers = &virtio->registers;
	const struct virtqueue *queue = selected(virtio);
	struct common common = {
		.device_feature_select = registers->device_feature_select,
		.device_feature = feature_half(offered(virtio), registers->device_feature_select),
		.driver_feature_select = registers->driver_feature_select,
		.driver_feature = feature_half(registers->driver_features, registers->driver_feature_select),
		.config_msix_vector = registers->config_vector,
		.num_queues = (uint16_t)virtio->kind->queues,
		.device_status = registers->status,
		.queue_select = registers->queue_select,
	};

	if (queue) { /* a queue that is not there has size 0 */
		common.queue_size = queue->state.size;
		common.queue_msix_vector = queue->state.vector;
		common.queue_enable = queue->state.enabled;
		common.queue_desc = queue->state.desc;
		common.queue_driver = queue->state.avail;
		common.queue_device = queue->state.used;
	}
	memcpy(data, (const uint8_t *)&common + offset, len);
}

static void set_driver_features(struct virtio_registers *registers, uint32_t value)
{
	uint32_t shift = 32 * registers->driver_feature_select;

	if (registers->status & VIRTIO_STATUS_FEATURES_OK || registers->driver_feature_select > 1)
		return;
	registers->driver_features &= ~(0xffffffffULL << shift);
	registers->driver_features |= (uint64_t)value << shift;
}

static bool features_acceptable(const struct virtio_pci *virtio)
{
	uint64_t wanted = virtio->registers.driver_features;

	return wanted & VIRTIO_F_VERSION_1 && !(wanted & ~offered(virtio));
}

/* Bits only ever get set, until a reset; FEATURES_OK stays clear for features that do not fit. */
static enum virtio_event set_status(struct virtio_pci *virtio, uint8_t value)
{
	uint8_t *status = &virtio->registers.status;
	uint8_t before = *status;

	if (value == 0)
		return VIRTIO_RESET;
	if (!(before & VIRTIO_STATUS_FEATURES_OK) && !features_acceptable(virtio))
		value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	*status |= value & SETTABLE_STATUS;
	if (!(*status & VIRTIO_STATUS_FEATURES_OK) || before & VIRTIO_STATUS_DRIVER_OK)
		return VIRTIO_NOTHING;
	*status |= value & VIRTIO_STATUS_DRIVER_OK;
	return *status & VIRTIO_STATUS_DRIVER_OK ? VIRTIO_STARTED : VIRTIO_NOTHING;
}

static uint16_t valid_vector(const struct virtio_pci *virtio, uint32_t value)
{
	return value < virtio->msix.count ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static void enable_queue(struct virtio_pci *virtio, struct virtqueue *queue)
{
	struct vmm_error err;

	if (!(virtio->registers.status & VIRTIO_STATUS_FEATURES_OK))
		return;
	if (virtqueue_enable(queue, &err))
		virtio_pci_break(virtio, "virtio device %u, queue %u: %s", virtio->kind->id,
				 virtio->registers.queue_select, err.text);
}

/* Replace one half of *field, or all of it. */
static void set_address(uint64_t *field, uint32_t within, uint64_t value, uint32_t len)
{
	if (len == 8 && within == 0)
		*field = value;
	else if (len == 4 && within % 4 == 0)
		*field = (*field & ~(0xffffffffULL << (8 * within))) | value << (8 * within);
}

static void write_ring_address(struct virtqueue_state *state, uint32_t offset, uint64_t value, uint32_t len)
{
	uint32_t within = offset % 8;

	if (offset >= offsetof(struct common, queue_device))
		set_address(&state->used, within, value, len);
	else if (offset >= offsetof(struct common, queue_driver))
		set_address(&state->avail, within, value, len);
	else
		set_address(&state->desc, within, value, len);
}

/* Size and places are fixed once a queue is enabled; enabling is the last thing a driver does to it. */
static void write_queue(struct virtio_pci *virtio, uint32_t offset, uint64_t value, uint32_t len)
{
	struct virtqueue *queue = (struct virtqueue *)selected(virtio);

	if (!queue || (queue->state.enabled && offset != offsetof(struct common, queue_msix_vector)))
		return;
	if (offset >= offsetof(struct common, queue_desc))
		write_ring_address(&queue->state, offset, value, len);
	else if (len != 2)
		return;
	else if (offset == offsetof(struct common, queue_size))
		queue->state.size = (uint16_t)value;
	else if (offset == offsetof(struct common, queue_msix_vector))
		queue->state.vector = valid_vector(virtio, (uint32_t)value);
	else if (offset == offsetof(struct common, queue_enable) && value == 1)
		enable_queue(virtio, queue);
}

enum virtio_event virtio_common_write(struct virtio_pci *virtio, uint32_t offset, const void *data, uint32_t len)
{
	struct virtio_registers *registers = &virtio->registers;
	uint64_t value = 0;

	memcpy(&value, data, len);
	if (offset == offsetof(struct common, device_status) && len == 1)
		return set_status(virtio, (uint8_t)value);
	if (offset == offsetof(struct common, device_feature_select) && len == 4)
		registers->device_feature_select = (uint32_t)value;
	else if (offset == offsetof(struct common, driver_feature_select) && len == 4)
		registers->driver_feature_select = (uint32_t)value;
	else if (offset == offsetof(struct common, driver_feature) && len == 4)
		set_driver_features(registers, (uint32_t)value);
	else if (offset == offsetof(struct common, config_msix_vector) && len == 2)
		registers->config_vector = valid_vector(virtio, (uint32_t)value);
	else if (offset == offsetof(struct common, queue_select) && len == 2)
		registers->queue_select = (uint16_t)value;
	else if (offset >= offsetof(struct common, queue_size))
		write_queue(virtio, offset, value, len);
	return VIRTIO_NOTHING;
}
