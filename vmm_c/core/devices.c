// SPDX-License-Identifier: GPL-2.0-only
#include "devices.h"

#include <errno.h>

#define CONSOLE_PCI_NUMBER 1
#define CONSOLE_BAR 0xe0000000ULL
#define CONSOLE_FIRST_MSI 0

static int add_windows(struct devices *devices, struct vmm_error *err)
{
	bool fits = bus_add(&devices->ports, SERIAL_PORT, SERIAL_PORTS, &serial_ops, &devices->serial) &&
		    bus_add(&devices->ports, PCI_PORT, PCI_PORTS, &pci_port_ops, &devices->pci) &&
		    bus_add(&devices->ports, I8042_PORT, I8042_PORTS, &i8042_ops, &devices->i8042) &&
		    bus_add(&devices->ports, POWER_PORT, POWER_PORTS, &power_ops, &devices->power) &&
		    bus_add(&devices->mmio, PCI_MEMORY_BASE, PCI_MEMORY_BYTES, &pci_memory_ops, &devices->pci);

	return fits ? 0 : error_set(err, EINVAL, "two devices share an address");
}

static int init_console(struct devices *devices, const struct wires *wires, const struct memory *memory,
			struct vmm_error *err)
{
	struct virtio_place place = {
		&devices->pci, CONSOLE_PCI_NUMBER, CONSOLE_BAR, CONSOLE_FIRST_MSI, memory, wires,
	};
	int rc = virtio_console_init(&devices->console, &place, &devices->channel_out, err);

	if (rc)
		virtio_console_deinit(&devices->console);
	return rc;
}

static void deinit_output(struct devices *devices)
{
	sink_deinit(&devices->console_out);
	sink_deinit(&devices->channel_out);
}

int devices_init(struct devices *devices, const struct wires *wires, const struct memory *memory,
		 const struct vmm_config *config, struct vmm_error *err)
{
	int rc = add_windows(devices, err);

	if (rc)
		return rc;
	sink_init(&devices->console_out, config->console_fd, config->console_limit);
	sink_init(&devices->channel_out, config->channel_fd, config->channel_limit);
	i8042_init(&devices->i8042, wires);
	power_init(&devices->power, wires);
	pci_init(&devices->pci, wires);
	rc = serial_init(&devices->serial, wires, &devices->console_out, err);
	rc = rc ?: init_console(devices, wires, memory, err);
	if (rc)
		serial_deinit(&devices->serial);
	if (rc)
		deinit_output(devices);
	devices->built = rc == 0;
	return rc;
}

void devices_deinit(struct devices *devices)
{
	if (!devices->built)
		return;
	virtio_console_deinit(&devices->console);
	serial_deinit(&devices->serial);
	deinit_output(devices);
}
