// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz target of everything a guest can reach by ports and MMIO: each 8 bytes of input are one
 * access, or something the host does. Nothing may crash, reach outside, or hang; and afterwards the
 * device works for a driver that resets it.
 */
#include "fuzz_standalone.h"
#include "vmm_driver.h"

#define SIZE 16U

struct access {
	uint8_t action;
	uint8_t len;
	uint16_t offset;
	uint32_t value;
};

enum action { CONFIG_READ, CONFIG_WRITE, PORT_READ, PORT_WRITE, BAR_READ, BAR_WRITE, HOLE_READ, HOLE_WRITE,
	      UART_READ, UART_WRITE, KEYBOARD, HOST_SENDS, HOST_TYPES, POKE_RAM, SAVE_AND_RESTORE, ACTIONS };

/* Where the BAR is now, so that most accesses hit it. */
static uint64_t bar_now(const struct machine *machine)
{
	uint64_t bar = pci_function_bar(&machine->console.virtio.function);

	return bar ? bar : BAR;
}

static void act_on_pci(struct machine *machine, const struct access *access, uint32_t len)
{
	uint32_t port = access->offset % (PCI_PORTS - len + 1);
	uint64_t value = access->value;

	if (access->action % ACTIONS == CONFIG_READ)
		config_read(machine, access->offset >> 8 & 1, access->offset & 0xff & ~(len - 1), len);
	else if (access->action % ACTIONS == CONFIG_WRITE)
		config_write(machine, access->offset >> 8 & 1, access->offset & 0xff & ~(len - 1), access->value, len);
	else if (access->action % ACTIONS == PORT_READ)
		pci_port_ops.read(&machine->pci, port, &value, len);
	else
		pci_port_ops.write(&machine->pci, port, &value, len);
}

static void act_on_memory(struct machine *machine, const struct access *access, uint32_t len)
{
	uint64_t value = access->value | (uint64_t)access->value << 32;
	uint64_t bar = bar_now(machine) + access->offset % 0x4000;
	uint64_t hole = PCI_MEMORY_BASE + ((uint64_t)access->offset << 14) % (PCI_MEMORY_BYTES - 8);

	switch (access->action % ACTIONS) {
	case BAR_READ:
		mmio_read(machine, bar, len);
		break;
	case BAR_WRITE:
		mmio_write(machine, bar, value, len);
		break;
	case HOLE_READ:
		mmio_read(machine, hole, len);
		break;
	default:
		mmio_write(machine, hole, value, len);
	}
}

static void save_and_restore(struct machine *machine)
{
	struct virtio_console_saved saved;
	struct serial_state uart;
	struct vmm_error err;

	virtio_console_save(&machine->console, &saved);
	CHECK(virtio_console_restore(&machine->console, &saved, &err) == 0);
	serial_save(&machine->serial, &uart);
	serial_restore(&machine->serial, &uart);
}

static void act_on_rest(struct machine *machine, const struct access *access, uint32_t len)
{
	uint8_t bytes[256];

	memset(bytes, (int)access->value, sizeof(bytes));
	switch (access->action % ACTIONS) {
	case UART_READ:
		serial_ops.read(&machine->serial, access->offset % 8, bytes, len);
		break;
	case UART_WRITE:
		serial_ops.write(&machine->serial, access->offset % 8, bytes, len);
		break;
	case KEYBOARD:
		i8042_ops.write(&machine->i8042, access->offset % 5, bytes, len);
		i8042_ops.read(&machine->i8042, access->offset % 5, bytes, len);
		break;
	case HOST_SENDS:
		virtio_console_send(&machine->console, bytes, access->offset % sizeof(bytes));
		break;
	case HOST_TYPES:
		serial_receive(&machine->serial, bytes, access->offset % sizeof(bytes));
		break;
	case POKE_RAM:
		memcpy(ram(machine, RAM_BASE + access->offset % 0x4000), &access->value, 4);
		break;
	default:
		save_and_restore(machine);
	}
}

static void check_alive(struct machine *machine)
{
	uint64_t before = machine->out.written;
	uint32_t id, len;

	config_write(machine, 1, 0x10, BAR, 4);
	driver_start(machine, DRIVER_FEATURES, SIZE);
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 15);
	set_desc(machine, 1, 0, BUFFERS, 5, 0, 0);
	offer(machine, 1, 0, SIZE);
	CHECK(take_used(machine, 1, SIZE, &id, &len) && machine->out.written == before + 5);
	CHECK(interrupts(machine, 2));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint32_t widths[] = { 1, 2, 4, 8 };
	struct machine *machine = machine_create(-1);

	machine->out.limit = UINT64_MAX;
	if (bytes && *data & 1)
		driver_start(machine, DRIVER_FEATURES, SIZE);
	for (size_t at = 1; at + sizeof(struct access) <= bytes; at += sizeof(struct access)) {
		struct access access;

		memcpy(&access, data + at, sizeof(access));
		if (access.action % ACTIONS <= PORT_WRITE)
			act_on_pci(machine, &access, widths[access.len % 3]);
		else if (access.action % ACTIONS <= HOLE_WRITE)
			act_on_memory(machine, &access, widths[access.len % 4]);
		else
			act_on_rest(machine, &access, access.action % ACTIONS == KEYBOARD ? 1 : widths[access.len % 3]);
		supervise(machine);
	}
	check_alive(machine);
	machine_destroy(machine);
	return 0;
}
