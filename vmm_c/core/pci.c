// SPDX-License-Identifier: GPL-2.0-only
#include "pci.h"

#include <string.h>

#define ADDRESS_ENABLE 0x80000000U
#define RESET_OFFSET 1 /* port 0xcf9, the reset control register of PC chipsets */
#define RESET_CPU 0x04
#define DATA_OFFSET 4 /* port 0xcfc */

#define COMMAND_MEMORY 0x0002U
#define COMMAND_WRITABLE 0x0546U /* memory, master, parity, SERR, INTx disable */
#define STATUS_CAPABILITIES 0x0010U
#define CAPABILITIES 0x34
#define INTERRUPT_LINE 0x3c
#define FIRST_CAPABILITY 0x40

uint32_t pci_function_get(const struct pci_function *function, uint32_t reg, uint32_t len)
{
	uint32_t value = 0;

	memcpy(&value, function->config.bytes + reg, len);
	return value;
}

static void put(struct pci_function *function, uint32_t reg, uint32_t value, uint32_t len)
{
	memcpy(function->config.bytes + reg, &value, len);
}

static void allow(struct pci_function *function, uint32_t reg, uint32_t mask, uint32_t len)
{
	memcpy(function->writable + reg, &mask, len);
}

void pci_function_init(struct pci_function *function, const struct pci_identity *identity)
{
	*function = (struct pci_function){ .next_pointer = CAPABILITIES, .next_capability = FIRST_CAPABILITY };
	put(function, 0x00, identity->vendor, 2);
	put(function, 0x02, identity->device, 2);
	put(function, 0x08, identity->class_revision, 4);
	put(function, 0x2c, identity->subvendor, 2);
	put(function, 0x2e, identity->subdevice, 2);
	allow(function, PCI_COMMAND, COMMAND_WRITABLE, 2);
	allow(function, INTERRUPT_LINE, 0xff, 1);
}

void pci_function_set_bar(struct pci_function *function, uint64_t base, uint32_t bytes)
{
	function->bar_bytes = bytes;
	put(function, PCI_BAR0, (uint32_t)base, 4);
	allow(function, PCI_BAR0, ~(bytes - 1), 4);
}

uint8_t pci_function_add_capability(struct pci_function *function, const void *capability, uint8_t bytes)
{
	uint8_t at = function->next_capability;

	memcpy(&function->config.bytes[at], capability, bytes);
	function->config.bytes[at + 1] = 0;
	function->config.bytes[function->next_pointer] = at;
	function->next_pointer = (uint8_t)(at + 1);
	function->next_capability = (uint8_t)((at + bytes + 3) & ~3);
	put(function, PCI_STATUS, STATUS_CAPABILITIES, 2);
	return at;
}

void pci_function_write(struct pci_function *function, uint32_t reg, const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		uint8_t mask = function->writable[reg + i];
		uint8_t *byte = &function->config.bytes[reg + i];

		*byte = (uint8_t)((*byte & ~mask) | (data[i] & mask));
	}
}

uint64_t pci_function_bar(const struct pci_function *function)
{
	uint64_t base = pci_function_get(function, PCI_BAR0, 4);
	uint64_t end = PCI_MEMORY_BASE + PCI_MEMORY_BYTES;

	if (!function->bar_bytes || !(pci_function_get(function, PCI_COMMAND, 2) & COMMAND_MEMORY))
		return 0;
	return base >= PCI_MEMORY_BASE && base + function->bar_bytes <= end ? base : 0;
}

/* The function that the address register selects, if any: bus 0, number 0, no extended register (as on AMD). */
static struct pci_function *selected(const struct pci *pci)
{
	uint32_t number = pci->address >> 11 & 0x1f;
	bool here = (pci->address & ADDRESS_ENABLE) && !(pci->address & 0x7fff0700);

	return here && number < PCI_MAX_FUNCTIONS ? pci->functions[number] : NULL;
}

static void read_config(struct pci *pci, uint32_t reg, void *data, uint32_t len)
{
	struct pci_function *function = selected(pci);

	if (!function)
		return;
	if (function->before_read)
		function->before_read(function->device, reg, len);
	memcpy(data, &function->config.bytes[reg], len);
}

static void write_config(struct pci *pci, uint32_t reg, const uint8_t *data, uint32_t len)
{
	struct pci_function *function = selected(pci);

	if (!function)
		return;
	pci_function_write(function, reg, data, len);
	if (function->after_write)
		function->after_write(function->device, reg, len);
}

/* Port accesses are 1, 2 or 4 wide and do not leave the register's dword. */
static bool inside_data(uint64_t offset, uint32_t len)
{
	return offset >= DATA_OFFSET && len <= 4 && offset + len <= PCI_PORTS;
}

static uint32_t config_register(const struct pci *pci, uint64_t offset)
{
	return (pci->address & 0xfc) + (uint32_t)(offset - DATA_OFFSET);
}

static void pci_port_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct pci *pci = device;

	memset(data, 0xff, len);
	if (offset == 0 && len == 4)
		memcpy(data, &pci->address, 4);
	else if (inside_data(offset, len))
		read_config(pci, config_register(pci, offset), data, len);
}

static void pci_port_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct pci *pci = device;

	if (offset == 0 && len == 4)
		memcpy(&pci->address, data, 4);
	else if (offset == RESET_OFFSET && len == 1 && *(const uint8_t *)data & RESET_CPU)
		pci->wires.request_end(pci->wires.machine, 1);
	else if (inside_data(offset, len))
		write_config(pci, config_register(pci, offset), data, len);
}

const struct bus_ops pci_port_ops = { pci_port_read, pci_port_write };

/* Whose BAR covers all of the access? */
static struct pci_function *at_address(const struct pci *pci, uint64_t address, uint32_t len, uint64_t *ret)
{
	for (uint32_t i = 0; i < PCI_MAX_FUNCTIONS; i++) {
		struct pci_function *function = pci->functions[i];
		uint64_t bar = function ? pci_function_bar(function) : 0;

		if (!bar || address < bar || address - bar + len > function->bar_bytes)
			continue;
		*ret = address - bar;
		return function;
	}
	return NULL;
}

static void pci_memory_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	uint64_t inside;
	struct pci_function *function = at_address(device, PCI_MEMORY_BASE + offset, len, &inside);

	memset(data, 0xff, len);
	if (function)
		function->memory->read(function->device, inside, data, len);
}

static void pci_memory_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	uint64_t inside;
	struct pci_function *function = at_address(device, PCI_MEMORY_BASE + offset, len, &inside);

	if (function)
		function->memory->write(function->device, inside, data, len);
}

const struct bus_ops pci_memory_ops = { pci_memory_read, pci_memory_write };

void pci_init(struct pci *pci, const struct wires *wires)
{
	/* The id of a generic host bridge, for which no system has a driver or a quirk. */
	static const struct pci_identity bridge = { 0x1b36, 0x0008, 0x1af4, 0x1100, .class_revision = 0x06000000 };

	*pci = (struct pci){ .wires = *wires };
	pci_function_init(&pci->bridge, &bridge);
	pci_add(pci, 0, &pci->bridge);
}

bool pci_add(struct pci *pci, uint32_t number, struct pci_function *function)
{
	if (number >= PCI_MAX_FUNCTIONS || pci->functions[number])
		return false;
	pci->functions[number] = function;
	return true;
}
