// SPDX-License-Identifier: GPL-2.0-only
#include "i8042.h"

#include <string.h>

#define STATUS_OFFSET 4 /* port 0x64: status when read, command when written */
#define COMMAND_PULSE_RESET 0xfe
/*
 * "Output full" for ever: Linux reads 16 bytes to empty it and says there is no controller. "Input
 * full" stays clear, as the reboot path waits for that before it sends the reset.
 */
#define STATUS_OUTPUT_FULL 0x01

static void i8042_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	(void)device;
	memset(data, 0xff, len);
	if (offset <= STATUS_OFFSET && STATUS_OFFSET < offset + len)
		((uint8_t *)data)[STATUS_OFFSET - offset] = STATUS_OUTPUT_FULL;
}

static void i8042_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct i8042 *i8042 = device;
	const uint8_t *bytes = data;

	if (offset <= STATUS_OFFSET && STATUS_OFFSET < offset + len &&
	    bytes[STATUS_OFFSET - offset] == COMMAND_PULSE_RESET)
		i8042->wires.request_end(i8042->wires.machine, 1);
}

const struct bus_ops i8042_ops = { i8042_read, i8042_write };

void i8042_init(struct i8042 *i8042, const struct wires *wires)
{
	i8042->wires = *wires;
}
