// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MSI-X table of a PCI function (PCI 3.0, 6.8.2). A vector becomes a route in KVM when it is
 * first raised, and a new one when its message has changed since: drivers rewrite and mask entries
 * far more often than they use them, and a route costs KVM milliseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pci.h"
#include "wires.h"

#define MSIX_MAX_VECTORS 8
#define MSIX_ENTRY_BYTES 16

struct msix_state {
	uint32_t table[MSIX_MAX_VECTORS][4]; /* address low, high, data, control */
	uint64_t pending; /* the PBA */
};

/* What KVM knows of a vector. */
struct msix_wire {
	int eventfd; /* owned */
	bool connected;
	uint64_t address;
	uint32_t data;
};

struct msix {
	struct msix_state state;
	uint32_t count;
	uint32_t first_slot;
	uint8_t capability;
	const struct pci_function *function;
	struct wires wires;
	struct msix_wire vectors[MSIX_MAX_VECTORS];
};

/* Adds the capability to function, with the table in BAR 0 at this offset and the PBA behind it. */
int msix_init(struct msix *msix, struct pci_function *function, const struct wires *wires, uint32_t first_slot,
	      uint32_t count, uint32_t offset, struct vmm_error *err);
/* Safe after an msix_init that failed. */
void msix_deinit(struct msix *msix);
/* By the offset from the table. Only aligned accesses of 4 or 8 bytes to table or PBA mean anything. */
void msix_read(const struct msix *msix, uint64_t offset, void *data, uint32_t len);
int msix_write(struct msix *msix, uint64_t offset, const void *data, uint32_t len, struct vmm_error *err);
/* Deliver what pends and is no longer masked; to be called after writes to the capability. */
int msix_update(struct msix *msix, struct vmm_error *err);
/* Does nothing for a vector outside the table, or while MSI-X is disabled. */
int msix_raise(struct msix *msix, uint32_t vector, struct vmm_error *err);
