// SPDX-License-Identifier: GPL-2.0-only
/* The keyboard controller, of which only the wire to the CPU's reset pin is there. It has no state. */
#pragma once

#include "bus.h"
#include "wires.h"

#define I8042_PORT 0x60
#define I8042_PORTS 5 /* up to 0x64; 0x61 is the PIT's and handled in the kernel */

struct i8042 {
	struct wires wires;
};

extern const struct bus_ops i8042_ops;

void i8042_init(struct i8042 *i8042, const struct wires *wires);
