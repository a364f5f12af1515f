// SPDX-License-Identifier: GPL-2.0-only
#include "power.h"

#include <string.h>

#define ENABLE 2 /* offsets; status is at 0 and always clear */
#define CONTROL 4
#define CONTROL_SCI_ENABLED 0x01 /* the machine is in ACPI mode from the start */
#define CONTROL_TYPE(high) ((high) >> 2 & 7) /* in the upper byte of the register */
#define CONTROL_SLEEP 0x20

static void power_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	const struct power *power = device;

	memcpy(data, power->state.registers + offset, len);
}

static void write_byte(struct power *power, uint64_t offset, uint8_t value)
{
	uint8_t *registers = power->state.registers;

	if (offset < ENABLE)
		return; /* write one to clear what is clear */
	if (offset == CONTROL)
		value |= CONTROL_SCI_ENABLED;
	if (offset == CONTROL + 1 && value & CONTROL_SLEEP && CONTROL_TYPE(value) == POWER_S5)
		power->wires.request_end(power->wires.machine, 0);
	registers[offset] = offset == CONTROL + 1 ? value & (uint8_t)~CONTROL_SLEEP : value; /* SLP_EN reads as 0 */
}

static void power_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		write_byte(device, offset + i, ((const uint8_t *)data)[i]);
}

const struct bus_ops power_ops = { power_read, power_write };

void power_init(struct power *power, const struct wires *wires)
{
	*power = (struct power){ .state.registers[CONTROL] = CONTROL_SCI_ENABLED, .wires = *wires };
}
