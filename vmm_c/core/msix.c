// SPDX-License-Identifier: GPL-2.0-only
#include "msix.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CAPABILITY_ID 0x11
#define CAPABILITY_BYTES 12
#define CONTROL 2 /* the message control word of the capability */
#define CONTROL_ENABLE 0x8000
#define CONTROL_MASK_ALL 0x4000
#define VECTOR_MASKED 1U

static uint32_t control(const struct msix *msix)
{
	return pci_function_get(msix->function, msix->capability + CONTROL, 2);
}

static void add_capability(struct msix *msix, struct pci_function *function, uint32_t table, uint32_t pba)
{
	const uint32_t dwords[3] = { CAPABILITY_ID | (msix->count - 1) << 16, table, pba }; /* BAR indicator 0 */

	msix->capability = pci_function_add_capability(function, dwords, CAPABILITY_BYTES);
	function->writable[msix->capability + CONTROL + 1] = (CONTROL_ENABLE | CONTROL_MASK_ALL) >> 8;
}

int msix_init(struct msix *msix, struct pci_function *function, const struct wires *wires, uint32_t first_slot,
	      uint32_t count, uint32_t table_offset, uint32_t pba_offset, struct vmm_error *err)
{
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
	add_capability(msix, function, table_offset, pba_offset);
	return 0;
}

/* The machine's slots go with the machine: closing an eventfd takes its irqfd away. */
void msix_deinit(struct msix *msix)
{
	while (msix->count)
		close(msix->vectors[--msix->count].eventfd);
}

static bool in_table(const struct msix *msix, uint64_t offset, uint32_t len)
{
	return (len == 4 || len == 8) && offset % len == 0 && offset + len <= msix->count * MSIX_ENTRY_BYTES;
}

void msix_table_read(const struct msix *msix, uint64_t offset, void *data, uint32_t len)
{
	if (in_table(msix, offset, len))
		memcpy(data, (const uint8_t *)msix->state.table + offset, len);
}

void msix_pba_read(const struct msix *msix, uint64_t offset, void *data, uint32_t len)
{
	if ((len == 4 || len == 8) && offset % len == 0 && offset + len <= sizeof(msix->state.pending))
		memcpy(data, (const uint8_t *)&msix->state.pending + offset, len);
}

int msix_table_write(struct msix *msix, uint64_t offset, const void *data, uint32_t len, struct vmm_error *err)
{
	if (!in_table(msix, offset, len))
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
	int rc;

	if (wire->connected && wire->address == address && wire->data == entry[2])
		return 0;
	if (wire->connected) {
		wire->connected = false;
		rc = msix->wires.disconnect_msi(msix->wires.machine, slot, wire->eventfd, err);
		if (rc)
			return rc;
	}
	rc = msix->wires.connect_msi(msix->wires.machine, slot, address, entry[2], wire->eventfd, err);
	if (rc)
		return rc;
	*wire = (struct msix_wire){ wire->eventfd, true, address, entry[2] };
	return 0;
}

static int fire(struct msix *msix, uint32_t vector, struct vmm_error *err)
{
	int rc = connect_vector(msix, vector, err);

	if (rc)
		return rc;
	return eventfd_write(msix->vectors[vector].eventfd, 1) ?
		       error_set(err, errno, "write of an MSI-X eventfd: %s", strerror(errno)) :
		       0;
}

int msix_update(struct msix *msix, struct vmm_error *err)
{
	uint32_t word = control(msix);

	if (!(word & CONTROL_ENABLE) || word & CONTROL_MASK_ALL)
		return 0;
	for (uint32_t vector = 0; vector < msix->count && msix->state.pending; vector++) {
		uint64_t bit = 1ULL << vector;
		int rc;

		if (!(msix->state.pending & bit) || msix->state.table[vector][3] & VECTOR_MASKED)
			continue;
		msix->state.pending &= ~bit;
		rc = fire(msix, vector, err);
		if (rc)
			return rc;
	}
	return 0;
}

int msix_raise(struct msix *msix, uint32_t vector, struct vmm_error *err)
{
	if (vector >= msix->count || !(control(msix) & CONTROL_ENABLE))
		return 0;
	msix->state.pending |= 1ULL << vector;
	return msix_update(msix, err);
}
