// SPDX-License-Identifier: GPL-2.0-only
#include "irq.h"

#include <errno.h>
#include <linux/kvm.h>

#include "kvm.h"

#define PIC_PINS 8
#define MAX_ROUTES (2 * PIC_PINS + IRQ_PINS + IRQ_MSI_SLOTS)

struct route_table {
	uint32_t count;
	uint32_t flags;
	struct kvm_irq_routing_entry entries[MAX_ROUTES];
};

_Static_assert(offsetof(struct route_table, entries) == sizeof(struct kvm_irq_routing), "laid out as the ioctl's");

static void add_pin(struct route_table *table, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	table->entries[table->count++] = (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { chip, pin },
	};
}

/* Line 2 joins the two PICs and is no input; pin 2 of the IO-APIC gets the timer, as MADT says. */
static void add_pins(struct route_table *table)
{
	for (uint32_t i = 0; i < 2 * PIC_PINS; i++)
		if (i != 2)
			add_pin(table, i, i < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i % PIC_PINS);
	for (uint32_t i = 0; i < IRQ_PINS; i++)
		if (i != 2)
			add_pin(table, i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
}

/* Bits 11 to 5 hold destination bits 14 to 8 when bit 4 (remappable format) is clear; KVM_FEATURE_MSI_EXT_DEST_ID. */
uint64_t irq_widen_msi(uint64_t address)
{
	uint64_t upper = address & 0xff0;

	if (!upper || upper & 0x10)
		return address;
	return (address & ~upper) | upper << 35;
}

static void add_messages(struct route_table *table, const struct irq_routes *routes)
{
	for (uint32_t i = 0; i < IRQ_MSI_SLOTS; i++) {
		const struct irq_message *message = &routes->messages[i];
		uint64_t address = irq_widen_msi(message->address);

		if (message->connected)
			table->entries[table->count++] = (struct kvm_irq_routing_entry){
				.gsi = IRQ_PINS + i,
				.type = KVM_IRQ_ROUTING_MSI,
				.u.msi = { (uint32_t)address, (uint32_t)(address >> 32), message->data, { 0 } },
			};
	}
}

static int set_routes(const struct irq_routes *routes, struct vmm_error *err)
{
	struct route_table table = { 0 };

	add_pins(&table);
	add_messages(&table, routes);
	return kvm_ioctl(routes->vm, KVM_SET_GSI_ROUTING, &table, "KVM_SET_GSI_ROUTING", err);
}

int irq_init(struct irq_routes *routes, int vm, struct vmm_error *err)
{
	*routes = (struct irq_routes){ .vm = vm };
	return set_routes(routes, err);
}

static int irqfd(const struct irq_routes *routes, uint32_t gsi, int eventfd, uint32_t flags, struct vmm_error *err)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd, .gsi = gsi, .flags = flags };

	return kvm_ioctl(routes->vm, KVM_IRQFD, &irqfd, "KVM_IRQFD", err);
}

int irq_connect_line(const struct irq_routes *routes, uint32_t gsi, int eventfd, struct vmm_error *err)
{
	return irqfd(routes, gsi, eventfd, 0, err);
}

int irq_connect_msi(struct irq_routes *routes, uint32_t slot, uint64_t address, uint32_t data, int eventfd,
		    struct vmm_error *err)
{
	int rc;

	if (slot >= IRQ_MSI_SLOTS)
		return error_set(err, ENOSPC, "MSI slot %u: a machine has %d", slot, IRQ_MSI_SLOTS);
	routes->messages[slot] = (struct irq_message){ true, address, data };
	rc = set_routes(routes, err);
	rc = rc ?: irqfd(routes, IRQ_PINS + slot, eventfd, 0, err);
	if (rc)
		routes->messages[slot].connected = false;
	return rc;
}

/* The route stays with KVM until the next change, where nothing raises it. */
int irq_disconnect_msi(struct irq_routes *routes, uint32_t slot, int eventfd, struct vmm_error *err)
{
	if (slot >= IRQ_MSI_SLOTS)
		return error_set(err, ENOSPC, "MSI slot %u: a machine has %d", slot, IRQ_MSI_SLOTS);
	routes->messages[slot].connected = false;
	return irqfd(routes, IRQ_PINS + slot, eventfd, KVM_IRQFD_FLAG_DEASSIGN, err);
}

int irq_set_doorbell(const struct irq_routes *routes, uint64_t gpa, int eventfd, bool on, struct vmm_error *err)
{
	struct kvm_ioeventfd doorbell = {
		.addr = gpa, .fd = eventfd, .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN, /* len 0: of any length */
	};

	return kvm_ioctl(routes->vm, KVM_IOEVENTFD, &doorbell, "KVM_IOEVENTFD", err);
}
