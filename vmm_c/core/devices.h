// SPDX-License-Identifier: GPL-2.0-only
/* What is on the machine's board: which device answers where. */
#pragma once

#include <stdbool.h>

#include "bus.h"
#include "i8042.h"
#include "memory.h"
#include "pci.h"
#include "power.h"
#include "serial.h"
#include "sink.h"
#include "virtio_console.h"
#include "wires.h"

/* Everything the guest can reach. */
struct devices {
	bool built;
	struct bus ports;
	struct bus mmio;
	struct sink console_out;
	struct sink channel_out;
	struct serial serial;
	struct i8042 i8042;
	struct power power;
	struct pci pci;
	struct virtio_console console;
};

/* Build and connect them all, or none. */
int devices_init(struct devices *devices, const struct wires *wires, const struct memory *memory,
		 const struct vmm_config *config, struct vmm_error *err);
/* Safe after a devices_init that failed, and on zeroed memory. */
void devices_deinit(struct devices *devices);
