// SPDX-License-Identifier: GPL-2.0-only
/* Ports and MMIO: which device answers at an address. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BUS_MAX_WINDOWS 16

/* len is 1, 2, 4 or 8; offset + len is inside the window. Called with the machine's device lock held. */
struct bus_ops {
	void (*read)(void *device, uint64_t offset, void *data, uint32_t len);
	void (*write)(void *device, uint64_t offset, const void *data, uint32_t len);
};

struct bus_window {
	uint64_t base;
	uint64_t bytes;
	const struct bus_ops *ops;
	void *device;
};

struct bus {
	uint32_t count;
	struct bus_window windows[BUS_MAX_WINDOWS];
};

/* False when there is no room or the window overlaps another. */
bool bus_add(struct bus *bus, uint64_t base, uint64_t bytes, const struct bus_ops *ops, void *device);
/* Reads nobody answers give all ones, as an empty PC bus does; writes nobody takes are dropped. */
void bus_read(const struct bus *bus, uint64_t address, void *data, uint32_t len);
void bus_write(const struct bus *bus, uint64_t address, const void *data, uint32_t len);
