// SPDX-License-Identifier: GPL-2.0-only
/* The common configuration structure (virtio 1.2, 4.1.4.3): negotiation and the places of the rings. */
#ifndef KTSTR_VIRTIO_COMMON_H
#define KTSTR_VIRTIO_COMMON_H

#include <stdint.h>

#include "virtio_pci.h"

/* What a write of a register asks of the device, beyond the register. */
enum virtio_event { VIRTIO_NOTHING, VIRTIO_RESET, VIRTIO_STARTED };

/* offset + len is at most VIRTIO_COMMON_BYTES. */
void virtio_common_read(const struct virtio_pci *virtio, uint32_t offset, void *data, uint32_t len);
/* Fields are written in their own width, 64-bit ones also in halves; anything else does nothing. */
enum virtio_event virtio_common_write(struct virtio_pci *virtio, uint32_t offset, const void *data, uint32_t len);

#endif
