// SPDX-License-Identifier: GPL-2.0-only
#include "msix.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CAPABILITY_ID 0x11
#define PBA 0x800U /* from the table */
#define CONTROL 2 /* the message control word of the capability */
#define CONTROL_ENABLE 0x8000
#define CONTROL_MASK_ALL 0x4000
#define VECTOR_MASKED 1U

static uint32_t control(const struct msix *msix)
{
	return pci_function_get(msix->function, msix->capability + CONTROL, 2);
}

int msix_init(struct msix *msix, struct pci_function *function, const struct wires *wires, uint32_t first_slot,
	      uint32_t count, uint32_t offset, struct vmm_error *err)
{
	const uint32_t capability[] = { CAPABILITY_ID | (count - 1) << 16, offset, offset + PBA }; /* in BAR 0 */

	*msix = (struct msix){ .first_slot = first_slot, .function = function, .wires = *wires };
	if (count == 0 || count > MSIX_MAX_VECTORS)
		return error_set(err, EINVAL, "%u MSI-X vectors: 1 to %d are possible", count, MSIX_MAX_VECTORS);
	for (; msix->count < count; msix->count++) {
		struct msix_wire *wire = &msix->vectors[msix->count];

		wire->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (wire->eventfd < 0)
			return error_set(err, errno, "eventfd for an MSI-X vector: %s", strerror(errno));
		msix->state.table[msix->count][3] = VECTOR_MASKED;
	}
	msix->capability = pci_function_add_capability(function, capability, sizeof(capability));
	function->writable[msix->capability + CONTROL + 1] = (CONTROL_ENABLE | CONTROL_MASK_ALL) >> 8;
	return 0;
}

/* The machine's slots go with the machine: closing an eventfd takes its irqfd away. */
void msix_deinit(struct msix *msix)
{
	while (msix->count)
		close(msix->vectors[--msix->count].eventfd);
}

static bool inside(uint64_t bytes, uint64_t offset, uint32_t len)
{
	return (len == 4 || len == 8) && offset % len == 0 && offset + len <= bytes;
}

void msix_read(const struct msix *msix, uint64_t offset, void *data, uint32_t len)
{
	if (inside(msix->count * MSIX_ENTRY_BYTES, offset, len))
		memcpy(data, (const uint8_t *)msix->state.table + offset, len);
	else if (offset >= PBA && inside(sizeof(msix->state.pending), offset - PBA, len))
		memcpy(data, (const uint8_t *)&msix->state.pending + (offset - PBA), len);
}

int msix_write(struct msix *msix, uint64_t offset, const void *data, uint32_t len, struct vmm_error *err)
{
	if (!inside(msix->count * MSIX_ENTRY_BYTES, offset, len))
		return 0;
	memcpy((uint8_t *)msix->state.table + offset, data, len);
	return msix_update(msix, err);
}

/* Give KVM the vector's message, unless it has that one. */
static int connect_vector(struct msix *msix, uint32_t vector, struct vmm_error *err)
{
	const uint32_t *entry = msix->state.table[vector];
	struct msix_wire *wire = &msix->vectors[vector];
	uint64_t address = (uint64_t)entry[1] << 32 | entry[0];
	uint32_t slot = msix->first_slot + vector;
	bool changed = wire->address != address || wire->data != entry[2];
	int rc = 0;

	if (wire->connected && changed) {
		wire->connected = false;
		rc = msix->wires.disconnect_msi(msix->wires.machine, slot, wire->eventfd, err);
	}
	if (rc || wire->connected)
		return rc;
	rc = msix->wires.connect_msi(msix->wires.machine, slot, address, entry[2], wire->eventfd, err);
	*wire = (struct msix_wire){ wire->eventfd, rc == 0, address, entry[2] };
	return rc;
}

static int fire(struct msix *msix, uint32_t vector, struct vmm_error *err)
{
	int rc = connect_vector(msix, vector, err);

	if (rc == 0 && eventfd_write(msix->vectors[vector].eventfd, 1))
		rc = error_set(err, errno, "write of an MSI-X eventfd: %s", strerror(errno));
	return rc;
}

int msix_update(struct msix *msix, struct vmm_error *err)
{
	bool on = (control(msix) & (CONTROL_ENABLE | CONTROL_MASK_ALL)) == CONTROL_ENABLE;
	int rc = 0;

	for (uint32_t vector = 0; on && vector < msix->count && rc == 0; vector++) {
		uint64_t bit = 1ULL << vector;

		if (!(msix->state.pending & bit) || msix->state.table[vector][3] & VECTOR_MASKED)
			continue;
		msix->state.pending &= ~bit;
		rc = fire(msix, vector, err);
	}
	return rc;
}

int msix_raise(struct msix *msix, uint32_t vector, struct vmm_error *err)
{
	if (vector >= msix->count || !(control(msix) & CONTROL_ENABLE))
		return 0;
	msix->state.pending |= 1ULL << vector;
	return msix_update(msix, err);
}
