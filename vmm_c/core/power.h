// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registers by which ACPI turns a PC off (ACPI 6.5, 4.8.3): PM1a event block, always quiet, and
 * PM1a control, where SLP_EN with the type that the DSDT's \_S5 names is power off.
 */
#pragma once

#include <stdint.h>

#include "bus.h"
#include "wires.h"

#define POWER_PORT 0x600 /* PM1a_EVT_BLK, 4 bytes; PM1a_CNT_BLK follows, 2 bytes */
#define POWER_PORTS 6
#define POWER_S5 5 /* SLP_TYP of S5 */

struct power_state {
	uint8_t registers[POWER_PORTS];
};

struct power {
	struct power_state state;
	struct wires wires;
};

extern const struct bus_ops power_ops;

void power_init(struct power *power, const struct wires *wires);
