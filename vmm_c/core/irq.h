// SPDX-License-Identifier: GPL-2.0-only
/* How eventfds become interrupts (irqfd) and writes of the guest become eventfds (ioeventfd). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define IRQ_PINS 24 /* of the IO-APIC */
#define IRQ_MSI_SLOTS 16 /* their GSIs follow the pins' */

struct irq_message {
	bool connected;
	uint64_t address;
	uint32_t data;
};

/* The routes KVM has: it only takes all of them at once. */
struct irq_routes {
	int vm; /* not owned */
	struct irq_message messages[IRQ_MSI_SLOTS];
};

/* Routes as on a PC: the timer's line 0 at pin 2 of the IO-APIC. */
int irq_init(struct irq_routes *routes, int vm, struct vmm_error *err);
int irq_connect_line(const struct irq_routes *routes, uint32_t gsi, int eventfd, struct vmm_error *err);
int irq_connect_msi(struct irq_routes *routes, uint32_t slot, uint64_t address, uint32_t data, int eventfd,
		    struct vmm_error *err);
int irq_disconnect_msi(struct irq_routes *routes, uint32_t slot, int eventfd, struct vmm_error *err);
int irq_set_doorbell(const struct irq_routes *routes, uint64_t gpa, int eventfd, bool on, struct vmm_error *err);
/* An MSI address with a destination id of 15 bits, as KVM wants it: the upper bits in the upper half. */
uint64_t irq_widen_msi(uint64_t address);
