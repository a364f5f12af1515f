// SPDX-License-Identifier: GPL-2.0-only
#include "bus.h"

#include <stddef.h>
#include <string.h>

bool bus_add(struct bus *bus, uint64_t base, uint64_t bytes, const struct bus_ops *ops, void *device)
{
	if (bus->count == BUS_MAX_WINDOWS || bytes == 0 || base + bytes < base)
		return false;
	for (uint32_t i = 0; i < bus->count; i++) {
		const struct bus_window *other = &bus->windows[i];

		if (base < other->base + other->bytes && other->base < base + bytes)
			return false;
	}
	bus->windows[bus->count++] = (struct bus_window){ base, bytes, ops, device };
	return true;
}

/* The window that holds the whole access: one that crosses its end belongs to nobody. */
static const struct bus_window *window_at(const struct bus *bus, uint64_t address, uint32_t len)
{
	for (uint32_t i = 0; i < bus->count; i++) {
		const struct bus_window *window = &bus->windows[i];
		uint64_t offset = address - window->base;

		if (address >= window->base && offset < window->bytes && len <= window->bytes - offset)
			return window;
	}
	return NULL;
}

void bus_read(const struct bus *bus, uint64_t address, void *data, uint32_t len)
{
	const struct bus_window *window = window_at(bus, address, len);

	memset(data, 0xff, len);
	if (window)
		window->ops->read(window->device, address - window->base, data, len);
}

void bus_write(const struct bus *bus, uint64_t address, const void *data, uint32_t len)
{
	const struct bus_window *window = window_at(bus, address, len);

	if (window)
		window->ops->write(window->device, address - window->base, data, len);
}
