// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtio console (virtio 1.2, 5.3) with VIRTIO_CONSOLE_F_MULTIPORT and one port, 0, that is no
 * console but carries the channel: the guest finds it by its name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fifo.h"
#include "sink.h"
#include "virtio_pci.h"

#define VIRTIO_CONSOLE_PORT_NAME "ktstr.0"
#define VIRTIO_CONSOLE_QUEUES 4

struct virtio_console_state {
	uint8_t owed; /* control messages the guest has to get, a bit each */
	uint8_t guest_open; /* somebody in the guest has the port open */
	struct fifo input;
};

struct virtio_console {
	struct virtio_console_state state;
	struct virtio_pci virtio;
	struct sink *out;
};

int virtio_console_init(struct virtio_console *console, const struct virtio_place *place, struct sink *out,
			struct vmm_error *err);
/* Safe after a virtio_console_init that failed. */
void virtio_console_deinit(struct virtio_console *console);
/* Send to the guest: how many bytes fit. They wait until the guest opens the port. */
size_t virtio_console_send(struct virtio_console *console, const uint8_t *data, size_t bytes);

struct virtio_console_saved {
	struct virtio_console_state console;
	struct virtio_pci_state virtio;
};

void virtio_console_save(const struct virtio_console *console, struct virtio_console_saved *ret);
int virtio_console_restore(struct virtio_console *console, const struct virtio_console_saved *saved,
			   struct vmm_error *err);
