// SPDX-License-Identifier: GPL-2.0-only
/* The common configuration structure (virtio 1.2, 4.1.4.3): negotiation and the places of the rings. */
#pragma once

#include <stdint.h>

#include "error.h"
#include "virtqueue.h"

#define VIRTIO_MAX_QUEUES 4
#define VIRTIO_NO_VECTOR 0xffff
#define VIRTIO_COMMON_BYTES 0x38U

#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER 2
#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED 128
#define VIRTIO_F_VERSION_1 (1ULL << 32)

struct virtio_registers {
	/* The first part of the common configuration, as it is laid out there; three are filled in when read. */
	uint32_t device_feature_select, device_feature;
	uint32_t driver_feature_select, driver_feature;
	uint16_t config_vector, num_queues;
	uint8_t status, generation;
	uint16_t queue_select;

	uint64_t driver_features;
	uint8_t isr;
};

struct virtio_common {
	struct virtio_registers registers;
	struct virtqueue queues[VIRTIO_MAX_QUEUES];
	uint64_t features; /* that the driver is offered */
	uint32_t queue_count;
	uint32_t vectors; /* of MSI-X */
};

/* What a write of a register asks of the device, beyond the register. */
enum virtio_event { VIRTIO_NOTHING, VIRTIO_RESET, VIRTIO_STARTED, VIRTIO_BROKEN };

/* offset + len is at most VIRTIO_COMMON_BYTES. */
void virtio_common_read(struct virtio_common *common, uint32_t offset, void *data, uint32_t len);
/*
 * Fields are written in their own width, 64-bit ones also in halves; anything else does nothing. VIRTIO_BROKEN with
 * *err filled: the selected queue was enabled, and its rings are nowhere.
 */
enum virtio_event virtio_common_write(struct virtio_common *common, uint32_t offset, const void *data, uint32_t len,
				      struct vmm_error *err);
