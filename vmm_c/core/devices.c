// SPDX-License-Identifier: GPL-2.0-only
/* What is on the machine's board: which device answers where, and the wires between them and KVM. */
#include <errno.h>

#include "vm.h"

#define CONSOLE_PCI_NUMBER 1
#define CONSOLE_BAR 0xe0000000ULL
#define CONSOLE_FIRST_MSI 0

static int connect_line(void *machine, uint32_t gsi, int eventfd, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_connect_line(&vm->irqs, gsi, eventfd, err);
}

static int connect_msi(void *machine, uint32_t slot, uint64_t address, uint32_t data, int eventfd,
		       struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_connect_msi(&vm->irqs, slot, address, data, eventfd, err);
}

static int disconnect_msi(void *machine, uint32_t slot, int eventfd, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_disconnect_msi(&vm->irqs, slot, eventfd, err);
}

static int set_doorbell(void *machine, uint64_t gpa, int eventfd, bool on, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_set_doorbell(&vm->irqs, gpa, eventfd, on, err);
}

static int watch(void *machine, int fd, void (*ready)(void *device), void *device, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return supervisor_watch(&vm->supervisor, fd, ready, device, err);
}

static void request_end(void *machine, int reset)
{
	vm_end(machine, reset ? VMM_RESET : VMM_POWER_OFF, 0, -1, "the guest %s",
	       reset ? "asked for a reset" : "turned itself off");
}

static int add_windows(struct devices *devices, struct vmm_error *err)
{
	bool fits = bus_add(&devices->ports, SERIAL_PORT, SERIAL_PORTS, &serial_ops, &devices->serial) &&
		    bus_add(&devices->ports, PCI_PORT, PCI_PORTS, &pci_port_ops, &devices->pci) &&
		    bus_add(&devices->ports, I8042_PORT, I8042_PORTS, &i8042_ops, &devices->i8042) &&
		    bus_add(&devices->ports, POWER_PORT, POWER_PORTS, &power_ops, &devices->power) &&
		    bus_add(&devices->mmio, PCI_MEMORY_BASE, PCI_MEMORY_BYTES, &pci_memory_ops, &devices->pci);

	return fits ? 0 : error_set(err, EINVAL, "two devices share an address");
}

static int init_console(struct vmm *vm, struct vmm_error *err)
{
	struct devices *devices = &vm->devices;
	struct virtio_place place = {
		&devices->pci, CONSOLE_PCI_NUMBER, CONSOLE_BAR, CONSOLE_FIRST_MSI, &vm->memory, &vm->wires,
	};
	int rc = virtio_console_init(&devices->console, &place, &devices->channel_out, err);

	if (rc)
		virtio_console_deinit(&devices->console);
	return rc;
}

int devices_init(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	struct devices *devices = &vm->devices;
	int rc = add_windows(devices, err);

	if (rc)
		return rc;
	vm->wires = (struct wires){ vm, connect_line, connect_msi, disconnect_msi, set_doorbell, watch, request_end };
	sink_init(&devices->console_out, config->console_fd, config->console_limit);
	sink_init(&devices->channel_out, config->channel_fd, config->channel_limit);
	i8042_init(&devices->i8042, &vm->wires);
	power_init(&devices->power, &vm->wires);
	pci_init(&devices->pci, &vm->wires);
	rc = serial_init(&devices->serial, &vm->wires, &devices->console_out, err);
	rc = rc ?: init_console(vm, err);
	if (rc)
		serial_deinit(&devices->serial);
	devices->built = rc == 0;
	return rc;
}

void devices_deinit(struct vmm *vm)
{
	if (!vm->devices.built)
		return;
	virtio_console_deinit(&vm->devices.console);
	serial_deinit(&vm->devices.serial);
}
