// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI bus 0 by configuration mechanism 1 (PCI 3.0, 3.2.2.3): a host bridge at 00:00.0 and functions
 * with one 32-bit memory BAR each. There is no INTx: functions have interrupt pin 0 and use MSI-X.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "wires.h"

#define PCI_PORT 0xcf8
#define PCI_PORTS 8
/* Where BARs may be: from the end of low RAM to the IO-APIC. */
#define PCI_MEMORY_BASE 0xc0000000ULL
#define PCI_MEMORY_BYTES 0x3ec00000ULL

#define PCI_CONFIG_BYTES 256
#define PCI_MAX_FUNCTIONS 4

#define PCI_COMMAND 0x04
#define PCI_STATUS 0x06
#define PCI_BAR0 0x10

struct pci_config {
	uint8_t bytes[PCI_CONFIG_BYTES];
};

struct pci_function {
	struct pci_config config; /* the state */
	uint8_t writable[PCI_CONFIG_BYTES]; /* which bits the guest can change */
	uint32_t bar_bytes; /* a power of two; 0 without a BAR */
	uint8_t next_pointer, next_capability; /* where the list is extended */
	void *device;
	const struct bus_ops *memory; /* accesses to the BAR */
	/* Both may be NULL. The bytes at reg are about to be read; were written. */
	void (*before_read)(void *device, uint32_t reg, uint32_t len);
	void (*after_write)(void *device, uint32_t reg, uint32_t len);
};

struct pci {
	uint32_t address; /* the state, with the functions' configs */
	struct wires wires;
	struct pci_function bridge;
	struct pci_function *functions[PCI_MAX_FUNCTIONS]; /* by device number */
};

/* What a function says it is. */
struct pci_identity {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class_revision; /* as the dword at 0x08 */
};

/* Windows for the ports and for all memory from PCI_MEMORY_BASE; their device is the struct pci. */
extern const struct bus_ops pci_port_ops;
extern const struct bus_ops pci_memory_ops;

void pci_init(struct pci *pci, const struct wires *wires);
/* The function stays the caller's and has to live as long as the bus. False for a bad or taken number. */
bool pci_add(struct pci *pci, uint32_t number, struct pci_function *function);

void pci_function_init(struct pci_function *function, const struct pci_identity *identity);
/* A BAR that firmware would have put at base, its decoding not enabled yet. */
void pci_function_set_bar(struct pci_function *function, uint64_t base, uint32_t bytes);
/* Append a read-only capability (id and next pointer are its first two bytes); gives its offset. */
uint8_t pci_function_add_capability(struct pci_function *function, const void *capability, uint8_t bytes);
/* Where the BAR answers now; 0 when decoding is off or the place is outside PCI_MEMORY. */
uint64_t pci_function_bar(const struct pci_function *function);
/* Write what the guest can change of these bytes. */
void pci_function_write(struct pci_function *function, uint32_t reg, const uint8_t *data, uint32_t len);
uint32_t pci_function_get(const struct pci_function *function, uint32_t reg, uint32_t len);
