// SPDX-License-Identifier: GPL-2.0-only
/*
 * Layouts: ACPI 6.4, the section named at each table. All checks of size are in put_bytes: what does
 * not fit is dropped and remembered.
 */
#include "acpi.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "i8042.h"
#include "pci.h"
#include "power.h"

#define HEADER_BYTES 36
#define HEADER_LENGTH 4
#define HEADER_CHECKSUM 9
#define RSDP_BYTES 36

#define OEM_ID "KTSTR " /* 6 bytes */
#define OEM_TABLE "KTSTRVM " /* 8 */
#define CREATOR "KTST"

#define IO_APIC_ADDRESS 0xfec00000U
#define LOCAL_APIC_ADDRESS 0xfee00000U
#define FIRST_X2APIC_ID 255 /* 255 is everybody in an 8-bit id */

struct tables {
	const struct topology *topology;
	const struct memory *memory;
	uint64_t gpa;
	uint8_t *ret;
	size_t size;
	size_t used;
	bool full;
};

static void put_bytes(struct tables *t, const void *data, size_t bytes)
{
	if (t->full || bytes > t->size - t->used) {
		t->full = true;
		return;
	}
	if (data)
		memcpy(t->ret + t->used, data, bytes);
	else
		memset(t->ret + t->used, 0, bytes);
	t->used += bytes;
}

static void put_zeros(struct tables *t, size_t bytes)
{
	put_bytes(t, NULL, bytes);
}

static void put8(struct tables *t, uint8_t value)
{
	put_bytes(t, &value, sizeof(value));
}

static void put16(struct tables *t, uint16_t value)
{
	put_bytes(t, &value, sizeof(value));
}

static void put32(struct tables *t, uint32_t value)
{
	put_bytes(t, &value, sizeof(value));
}

static void put64(struct tables *t, uint64_t value)
{
	put_bytes(t, &value, sizeof(value));
}

static void align(struct tables *t, size_t to)
{
	put_zeros(t, (to - t->used % to) % to);
}

/* Where the next table begins, as an offset; its header is there. */
static size_t begin(struct tables *t, const char *signature, uint8_t revision)
{
	size_t table;

	align(t, 16);
	table = t->used;
	put_bytes(t, signature, 4);
	put32(t, 0); /* length and checksum come at the end */
	put8(t, revision);
	put8(t, 0);
	put_bytes(t, OEM_ID, 6);
	put_bytes(t, OEM_TABLE, 8);
	put32(t, 1);
	put_bytes(t, CREATOR, 4);
	put32(t, 1);
	return table;
}

/* Makes bytes add up to 0 modulo 256. */
static uint8_t checksum(const uint8_t *bytes, size_t count)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += bytes[i];
	return (uint8_t)-sum;
}

/* Gives the address of the table. */
static uint64_t end(struct tables *t, size_t table)
{
	uint32_t length = (uint32_t)(t->used - table);

	if (t->full)
		return 0;
	memcpy(t->ret + table + HEADER_LENGTH, &length, sizeof(length));
	t->ret[table + HEADER_CHECKSUM] = checksum(t->ret + table, length);
	return t->gpa + table;
}

#define BYTES16(x) (uint8_t)(x), (uint8_t)((x) >> 8)
#define BYTES32(x) BYTES16(x), BYTES16((x) >> 16)

/*
 * With ACPI, Linux finds no PCI bus that is not declared (arch/x86/pci/acpi.c: pci_acpi_init keeps
 * pci_legacy_init from running). There are no bridges and no interrupt pins, so no _PRT:
 *
 *	Name (\_S5, Package (4) { 5, 5, 0, 0 })
 *	Scope (\_SB) { Device (PCI0) {
 *		Name (_HID, EisaId ("PNP0A03"))
 *		Name (_PXM, 0)
 *		Name (_CRS, ResourceTemplate () { bus 0, ports 0xcf8 to 0xcff, the hole below the IO-APIC })
 *	} }
 */
static const uint8_t dsdt[] = {
	0x08, '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, POWER_S5, 0x0a, POWER_S5, 0x00, 0x00,
	0x10, 0x4b, 0x05, '_', 'S', 'B', '_',
	0x5b, 0x82, 0x43, 0x05, 'P', 'C', 'I', '0',
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x03,
	0x08, '_', 'P', 'X', 'M', 0x00,
	0x08, '_', 'C', 'R', 'S', 0x11, 0x37, 0x0a, 0x34,
	/* WordBusNumber: produced, fixed; granularity, first, last, offset, count */
	0x88, BYTES16(13), 0x02, 0x0c, 0x00, BYTES16(0), BYTES16(0), BYTES16(0), BYTES16(0), BYTES16(1),
	/* IO: 16 bits decoded; lowest, highest, alignment, count */
	0x47, 0x01, BYTES16(PCI_PORT), BYTES16(PCI_PORT), 1, PCI_PORTS,
	/* DWordMemory: the same fields as the bus number's, read and write */
	0x87, BYTES16(23), 0x00, 0x0c, 0x01, BYTES32(0), BYTES32(PCI_MEMORY_BASE),
	BYTES32(PCI_MEMORY_BASE + PCI_MEMORY_BYTES - 1), BYTES32(0), BYTES32(PCI_MEMORY_BYTES),
	0x79, 0x00,
};

/* 5.2.11.1. Revision 2: integers have 64 bits. */
static uint64_t put_dsdt(struct tables *t)
{
	size_t table = begin(t, "DSDT", 2);

	put_bytes(t, dsdt, sizeof(dsdt));
	return end(t, table);
}

/* 5.2.10: no header and no checksum, and nothing of it is used before the machine would sleep. */
static uint64_t put_facs(struct tables *t)
{
	size_t table;

	align(t, 64);
	table = t->used;
	put_bytes(t, "FACS", 4);
	put32(t, 64);
	put_zeros(t, 24);
	put8(t, 2); /* version */
	put_zeros(t, 31);
	return t->gpa + table;
}

/* A register in I/O space (5.2.3.2). */
static void put_port(struct tables *t, uint64_t port, uint8_t bytes)
{
	put8(t, 1);
	put8(t, (uint8_t)(bytes * 8));
	put8(t, 0);
	put8(t, bytes == 1 ? 1 : 2); /* accessed by bytes or by words */
	put64(t, port);
}

#define FADT_ENTERPRISE_SERVER 4
#define FADT_NO_C2 101 /* microseconds */
#define FADT_NO_C3 1001
/* No 8042 as a keyboard controller (its probe would cost time), no VGA, no CMOS clock. */
#define FADT_BOOT_FLAGS (1U << 2 | 1U << 5)
/* WBINVD works, HLT is C1, buttons and clock alarm are no fixed hardware, there is a reset register. */
#define FADT_FLAGS (1U << 0 | 1U << 2 | 1U << 4 | 1U << 5 | 1U << 6 | 1U << 10)
#define FADT_BYTES 276
#define EVENT_BYTES 4
#define CONTROL_BYTES 2

static void put_fadt_blocks(struct tables *t)
{
	put32(t, POWER_PORT); /* PM1a event */
	put32(t, 0);
	put32(t, POWER_PORT + EVENT_BYTES); /* PM1a control */
	put_zeros(t, 88 - 68);
	put8(t, EVENT_BYTES);
	put8(t, CONTROL_BYTES);
	put_zeros(t, 96 - 90);
	put16(t, FADT_NO_C2);
	put16(t, FADT_NO_C3);
	put_zeros(t, 109 - 100);
}

/* The same addresses again, with 64 bits. */
static void put_fadt_wide(struct tables *t, uint64_t dsdt_address)
{
	put64(t, 0); /* the FACS, which is below 4 GiB */
	put64(t, dsdt_address);
	put_port(t, POWER_PORT, EVENT_BYTES);
	put_zeros(t, 12);
	put_port(t, POWER_PORT + EVENT_BYTES, CONTROL_BYTES);
	put_zeros(t, FADT_BYTES - 184);
}

/* 5.2.9. With no SMI command the machine is in ACPI mode from the start. */
static uint64_t put_fadt(struct tables *t, uint64_t facs_address, uint64_t dsdt_address)
{
	size_t table = begin(t, "FACP", 6);

	put32(t, (uint32_t)facs_address);
	put32(t, (uint32_t)dsdt_address);
	put8(t, 0);
	put8(t, FADT_ENTERPRISE_SERVER);
	put16(t, ACPI_SCI);
	put_zeros(t, 56 - 48);
	put_fadt_blocks(t);
	put16(t, FADT_BOOT_FLAGS);
	put8(t, 0);
	put32(t, FADT_FLAGS);
	put_port(t, I8042_PORT + 4, 1);
	put8(t, 0xfe); /* pulse the reset pin */
	put16(t, 0);
	put8(t, 4); /* of revision 6 */
	put_fadt_wide(t, dsdt_address);
	return end(t, table);
}

static void put_madt_cpu(struct tables *t, uint32_t cpu)
{
	uint32_t id = topology_apic_id(t->topology, cpu);

	if (id < FIRST_X2APIC_ID) {
		put8(t, 0);
		put8(t, 8);
		put8(t, (uint8_t)cpu);
		put8(t, (uint8_t)id);
		put32(t, 1); /* enabled */
	} else {
		put8(t, 9);
		put8(t, 16);
		put16(t, 0);
		put32(t, id);
		put32(t, 1);
		put32(t, cpu);
	}
}

/* An ISA interrupt that is not wired to the pin of its number, or not an edge that rises. */
static void put_override(struct tables *t, uint8_t irq, uint32_t pin, uint16_t flags)
{
	put8(t, 2);
	put8(t, 10);
	put8(t, 0);
	put8(t, irq);
	put32(t, pin);
	put16(t, flags);
}

/* NMI on LINT1 of all CPUs, in the entry of each kind of APIC id. */
static void put_nmi(struct tables *t, bool x2apic)
{
	put8(t, 4);
	put8(t, 6);
	put8(t, 0xff);
	put16(t, 0);
	put8(t, 1);
	if (!x2apic)
		return;
	put8(t, 10);
	put8(t, 12);
	put16(t, 0);
	put32(t, 0xffffffff);
	put8(t, 1);
	put_zeros(t, 3);
}

#define LEVEL_HIGH 0x0d

/* 5.2.12. Linux numbers CPUs in the order found here. */
static uint64_t put_madt(struct tables *t)
{
	uint32_t cpus = topology_cpus(t->topology);
	size_t table = begin(t, "APIC", 5);

	put32(t, LOCAL_APIC_ADDRESS);
	put32(t, 1); /* there are 8259s, too */
	for (uint32_t cpu = 0; cpu < cpus; cpu++)
		put_madt_cpu(t, cpu);
	put8(t, 1); /* IO-APIC 0, from interrupt 0 */
	put8(t, 12);
	put16(t, 0);
	put32(t, IO_APIC_ADDRESS);
	put32(t, 0);
	put_override(t, 0, 2, 0);
	put_override(t, ACPI_SCI, ACPI_SCI, LEVEL_HIGH);
	put_nmi(t, topology_apic_id(t->topology, cpus - 1) >= FIRST_X2APIC_ID);
	return end(t, table);
}

static void put_srat_cpu(struct tables *t, uint32_t cpu)
{
	put8(t, 2);
	put8(t, 24);
	put16(t, 0);
	put32(t, topology_node(t->topology, cpu));
	put32(t, topology_apic_id(t->topology, cpu));
	put32(t, 1); /* enabled */
	put_zeros(t, 8);
}

static void put_srat_memory(struct tables *t, const struct memory_range *range)
{
	put8(t, 1);
	put8(t, 40);
	put32(t, range->node);
	put16(t, 0);
	put64(t, range->gpa);
	put64(t, range->bytes);
	put32(t, 0);
	put32(t, 1); /* enabled */
	put64(t, 0);
}

/* 5.2.16 */
static uint64_t put_srat(struct tables *t)
{
	size_t table = begin(t, "SRAT", 3);

	put32(t, 1);
	put64(t, 0);
	for (uint32_t cpu = 0; cpu < topology_cpus(t->topology); cpu++)
		put_srat_cpu(t, cpu);
	for (uint32_t i = 0; i < t->memory->count; i++)
		put_srat_memory(t, &t->memory->ranges[i]);
	return end(t, table);
}

/* 5.2.17 */
static uint64_t put_slit(struct tables *t)
{
	uint32_t nodes = t->topology->nodes;
	size_t table = begin(t, "SLIT", 1);

	put64(t, nodes);
	for (uint32_t node = 0; node < nodes; node++)
		put_bytes(t, t->topology->distance[node], nodes);
	return end(t, table);
}

/* At distance 10: 100 ns and 51,200 MB/s. */
#define LATENCY_UNIT_PS 1000
#define LATENCY(distance) (uint16_t)(10 * (distance))
#define BANDWIDTH_UNIT_MBS 10
#define BANDWIDTH(distance) (uint16_t)(51200 / (distance))

enum hmat_data { HMAT_LATENCY = 0, HMAT_BANDWIDTH = 3 }; /* of accesses of any kind */

static void put_hmat_node(struct tables *t, uint32_t node)
{
	put16(t, 0);
	put16(t, 0);
	put32(t, 40);
	put16(t, 1); /* its CPUs are the initiator */
	put16(t, 0);
	put32(t, node);
	put32(t, node);
	put_zeros(t, 20);
}

static void put_hmat_matrix(struct tables *t, enum hmat_data data)
{
	uint32_t n = t->topology->nodes;

	put16(t, 1);
	put16(t, 0);
	put32(t, 32 + 8 * n + 2 * n * n);
	put8(t, 0); /* of memory, not of a cache in front of it */
	put8(t, (uint8_t)data);
	put16(t, 0);
	put32(t, n);
	put32(t, n);
	put32(t, 0);
	put64(t, data == HMAT_LATENCY ? LATENCY_UNIT_PS : BANDWIDTH_UNIT_MBS);
	for (uint32_t i = 0; i < 2 * n; i++)
		put32(t, i % n); /* initiators, then targets */
	for (uint32_t i = 0; i < n * n; i++) {
		uint32_t distance = t->topology->distance[i / n][i % n];

		put16(t, data == HMAT_LATENCY ? LATENCY(distance) : BANDWIDTH(distance));
	}
}

/* 5.2.27. Linux knows revisions 1 and 2. */
static uint64_t put_hmat(struct tables *t)
{
	size_t table = begin(t, "HMAT", 2);

	put32(t, 0);
	for (uint32_t node = 0; node < t->topology->nodes; node++)
		put_hmat_node(t, node);
	put_hmat_matrix(t, HMAT_LATENCY);
	put_hmat_matrix(t, HMAT_BANDWIDTH);
	return end(t, table);
}

/* 5.2.8 */
static uint64_t put_xsdt(struct tables *t, const uint64_t *addresses, uint32_t count)
{
	size_t table = begin(t, "XSDT", 1);

	for (uint32_t i = 0; i < count; i++)
		put64(t, addresses[i]);
	return end(t, table);
}

/* 5.2.5.3, revision 2; into the room left for it. The first sum is that of the 20 bytes of revision 0. */
static void write_rsdp(uint8_t *ret, uint64_t xsdt_address)
{
	uint32_t length = RSDP_BYTES;

	memset(ret, 0, RSDP_BYTES);
	memcpy(ret, "RSD PTR ", 8);
	memcpy(ret + 9, OEM_ID, 6);
	ret[15] = 2;
	memcpy(ret + 20, &length, sizeof(length));
	memcpy(ret + 24, &xsdt_address, sizeof(xsdt_address));
	ret[8] = checksum(ret, 20);
	ret[32] = checksum(ret, RSDP_BYTES);
}

/* Gives the address of the XSDT. */
static uint64_t put_tables(struct tables *t)
{
	uint64_t facs_address = put_facs(t);
	uint64_t dsdt_address = put_dsdt(t);
	uint64_t listed[5];
	uint32_t count = 0;

	listed[count++] = put_fadt(t, facs_address, dsdt_address);
	listed[count++] = put_madt(t);
	listed[count++] = put_srat(t);
	listed[count++] = put_slit(t);
	if (t->topology->nodes > 1)
		listed[count++] = put_hmat(t);
	return put_xsdt(t, listed, count);
}

int acpi_build(const struct topology *topology, const struct memory *memory, uint64_t gpa, uint8_t *ret, size_t size,
	       size_t *used, struct vmm_error *err)
{
	struct tables t = { .topology = topology, .memory = memory, .gpa = gpa, .ret = ret, .size = size };
	uint64_t xsdt_address;

	if (gpa % 64 || size > UINT32_MAX || gpa > UINT32_MAX - size)
		return error_set(err, EINVAL, "ACPI tables at %#llx: expected a multiple of 64 below 4 GiB",
				 (unsigned long long)gpa);
	put_zeros(&t, RSDP_BYTES);
	xsdt_address = put_tables(&t);
	if (t.full)
		return error_set(err, E2BIG, "ACPI tables of topology %un%ul%uc%ut: more than %zu bytes",
				 topology->nodes, topology->llcs, topology->cores, topology->threads, size);
	write_rsdp(ret, xsdt_address);
	*used = t.used;
	return 0;
}
