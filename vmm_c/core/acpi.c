// SPDX-License-Identifier: GPL-2.0-only
/* Layouts: ACPI 6.4, the section named at each table. What does not fit is dropped and remembered. */
#include "tables.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "pci.h"
#include "i8042.h"
#include "power.h"

#define HEADER_LENGTH 4
#define HEADER_CHECKSUM 9
#define RSDP_BYTES 36
#define OEM_ID "KTSTR " /* 6 bytes */
#define OEM_TABLE "KTSTRVM " /* 8 */
#define CREATOR "KTST"

#define IO_APIC_ADDRESS 0xfec00000U
#define LOCAL_APIC_ADDRESS 0xfee00000U
#define FIRST_X2APIC_ID 255 /* 255 is everybody in an 8-bit id */
#define ENABLED 1 /* the flag of CPUs and of memory */

struct tables {
	const struct topology *topology;
	const struct memory *memory;
	uint64_t gpa;
	uint8_t *ret;
	size_t size;
	size_t used;
	bool full;
};

/* The only place that writes, so the only check of size. Without data: zeros. */
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

static void put_fields(struct tables *t, const char *widths, const uint64_t *values)
{
	for (; *widths; widths++, values++)
		put_bytes(t, values, (size_t)(*widths - '0'));
}

/* Fields as a table of the specification lists them: a digit each for the width in bytes; values left out are 0. */
#define PUT(t, widths, ...) put_fields(t, widths, (const uint64_t[sizeof(widths) - 1]){ __VA_ARGS__ })

static void align(struct tables *t, size_t to)
{
	put_bytes(t, NULL, (to - t->used % to) % to);
}

/* Where the next table begins, as an offset; its header is there. */
static size_t begin(struct tables *t, const char *signature, uint8_t revision)
{
	size_t table;

	align(t, 16);
	table = t->used;
	put_bytes(t, signature, 4);
	PUT(t, "411", 0, revision); /* length and checksum come at the end */
	put_bytes(t, OEM_ID OEM_TABLE, 14);
	PUT(t, "4", 1);
	put_bytes(t, CREATOR, 4);
	PUT(t, "4", 1);
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

/* 5.2.10: no header, no checksum, version 2; nothing of it is used before the machine would sleep. */
static uint64_t put_facs(struct tables *t)
{
	size_t table;

	align(t, 64);
	table = t->used;
	put_bytes(t, "FACS", 4);
	PUT(t, "488818887", 64, 0, 0, 0, 2);
	return t->gpa + table;
}

/* A register in I/O space, accessed by bytes or by words (5.2.3.2). */
static void put_port(struct tables *t, uint64_t port, uint8_t bytes)
{
	PUT(t, "11118", 1, bytes * 8U, 0, bytes == 1 ? 1 : 2, port);
}

#define FADT_ENTERPRISE_SERVER 4
#define FADT_NO_C2 101 /* microseconds */
#define FADT_NO_C3 1001
/* No 8042 as a keyboard controller (its probe would cost time), no VGA, no CMOS clock. */
#define FADT_BOOT_FLAGS (1U << 2 | 1U << 5)
/* WBINVD works, HLT is C1, buttons and clock alarm are no fixed hardware, there is a reset register. */
#define FADT_FLAGS (1U << 0 | 1U << 2 | 1U << 4 | 1U << 5 | 1U << 6 | 1U << 10)
#define FADT_RESET_PIN 0xfe
#define FADT_MINOR 4 /* of revision 6 */
#define FADT_BYTES 276
#define EVENT_BYTES 4
#define CONTROL_BYTES 2

/* 5.2.9. With no SMI command the machine is in ACPI mode from the start. */
static uint64_t put_fadt(struct tables *t, uint64_t facs_address, uint64_t dsdt_address)
{
	size_t table = begin(t, "FACP", 6);

	PUT(t, "441128", facs_address, dsdt_address, 0, FADT_ENTERPRISE_SERVER, ACPI_SCI);
	PUT(t, "44444444", POWER_PORT, 0, POWER_PORT + EVENT_BYTES); /* PM1a event and control */
	PUT(t, "116", EVENT_BYTES, CONTROL_BYTES);
	PUT(t, "2281", FADT_NO_C2, FADT_NO_C3);
	PUT(t, "214", FADT_BOOT_FLAGS, 0, FADT_FLAGS);
	put_port(t, I8042_PORT + 4, 1);
	PUT(t, "121", FADT_RESET_PIN, 0, FADT_MINOR);
	PUT(t, "88", 0, dsdt_address); /* again, with 64 bits; the FACS is below 4 GiB, and named once only */
	put_port(t, POWER_PORT, EVENT_BYTES);
	put_bytes(t, NULL, 12);
	put_port(t, POWER_PORT + EVENT_BYTES, CONTROL_BYTES);
	put_bytes(t, NULL, FADT_BYTES - 184); /* no other blocks */
	return end(t, table);
}

static void put_madt_cpu(struct tables *t, uint32_t cpu)
{
	uint32_t id = topology_apic_id(t->topology, cpu);

	if (id < FIRST_X2APIC_ID)
		PUT(t, "11114", 0, 8, cpu, id, ENABLED);
	else
		PUT(t, "112444", 9, 16, 0, id, ENABLED, cpu);
}

#define LEVEL_HIGH 0x0d

/* 5.2.12. Linux numbers CPUs in the order found here. */
static uint64_t put_madt(struct tables *t)
{
	uint32_t cpus = topology_cpus(t->topology);
	size_t table = begin(t, "APIC", 5);

	PUT(t, "44", LOCAL_APIC_ADDRESS, 1); /* there are 8259s, too */
	for (uint32_t cpu = 0; cpu < cpus; cpu++)
		put_madt_cpu(t, cpu);
	PUT(t, "11244", 1, 12, 0, IO_APIC_ADDRESS);
	/* ISA interrupts not wired to the pin of their number, or not an edge that rises. */
	PUT(t, "111142", 2, 10, 0, 0, 2);
	PUT(t, "111142", 2, 10, 0, ACPI_SCI, ACPI_SCI, LEVEL_HIGH);
	/* NMI on LINT1 of all CPUs, in the entry of each kind of APIC id. */
	PUT(t, "11121", 4, 6, 0xff, 0, 1);
	if (topology_apic_id(t->topology, cpus - 1) >= FIRST_X2APIC_ID)
		PUT(t, "1124112", 10, 12, 0, 0xffffffff, 1);
	return end(t, table);
}

/* 5.2.16 */
static uint64_t put_srat(struct tables *t)
{
	const struct topology *topology = t->topology;
	size_t table = begin(t, "SRAT", 3);

	PUT(t, "48", 1);
	for (uint32_t cpu = 0; cpu < topology_cpus(topology); cpu++)
		PUT(t, "1124448", 2, 24, 0, topology_node(topology, cpu), topology_apic_id(topology, cpu), ENABLED);
	for (uint32_t i = 0; i < t->memory->count; i++) {
		const struct memory_range *range = &t->memory->ranges[i];

		PUT(t, "114288448", 1, 40, range->node, 0, range->gpa, range->bytes, 0, ENABLED);
	}
	return end(t, table);
}

/* 5.2.17 */
static uint64_t put_slit(struct tables *t)
{
	uint32_t nodes = t->topology->nodes;
	size_t table = begin(t, "SLIT", 1);

	PUT(t, "8", nodes);
	for (uint32_t node = 0; node < nodes; node++)
		put_bytes(t, t->topology->distance[node], nodes);
	return end(t, table);
}

/* At distance 10: 100 ns and 51,200 MB/s. */
#define LATENCY_UNIT_PS 1000
#define LATENCY(distance) (10U * (distance))
#define BANDWIDTH_UNIT_MBS 10
#define BANDWIDTH(distance) (51200U / (distance))

enum hmat_data { HMAT_LATENCY = 0, HMAT_BANDWIDTH = 3 }; /* of memory, by accesses of any kind */

static void put_hmat_matrix(struct tables *t, enum hmat_data data)
{
	uint64_t unit = data == HMAT_LATENCY ? LATENCY_UNIT_PS : BANDWIDTH_UNIT_MBS;
	uint32_t n = t->topology->nodes;

	PUT(t, "2241124448", 1, 0, 32 + 8 * n + 2 * n * n, 0, data, 0, n, n, 0, unit);
	for (uint32_t i = 0; i < 2 * n; i++)
		PUT(t, "4", i % n); /* initiators, then targets */
	for (uint32_t i = 0; i < n * n; i++) {
		uint32_t distance = t->topology->distance[i / n][i % n];

		PUT(t, "2", data == HMAT_LATENCY ? LATENCY(distance) : BANDWIDTH(distance));
	}
}

/* 5.2.27. Linux knows revisions 1 and 2. Each node's memory has the node's CPUs as its initiator. */
static uint64_t put_hmat(struct tables *t)
{
	size_t table = begin(t, "HMAT", 2);

	put_bytes(t, NULL, 4);
	for (uint32_t node = 0; node < t->topology->nodes; node++)
		PUT(t, "2242244884", 0, 0, 40, 1, 0, node, node);
	put_hmat_matrix(t, HMAT_LATENCY);
	put_hmat_matrix(t, HMAT_BANDWIDTH);
	return end(t, table);
}

/* 5.2.8. Gives the address of the XSDT. */
static uint64_t put_tables(struct tables *t)
{
	uint64_t facs_address = put_facs(t);
	uint64_t dsdt_address = put_dsdt(t);
	uint64_t listed[5];
	size_t count = 0, table;

	listed[count++] = put_fadt(t, facs_address, dsdt_address);
	listed[count++] = put_madt(t);
	listed[count++] = put_srat(t);
	listed[count++] = put_slit(t);
	if (t->topology->nodes > 1)
		listed[count++] = put_hmat(t);
	table = begin(t, "XSDT", 1);
	put_bytes(t, listed, count * sizeof(listed[0]));
	return end(t, table);
}

/* 5.2.5.3, revision 2; into the room left for it. The first sum is that of the 20 bytes of revision 0. */
static void write_rsdp(uint8_t *ret, uint64_t xsdt_address)
{
	struct tables t = { .ret = ret, .size = RSDP_BYTES };

	put_bytes(&t, "RSD PTR \0" OEM_ID, 15);
	PUT(&t, "144813", 2, 0, RSDP_BYTES, xsdt_address);
	ret[8] = checksum(ret, 20);
	ret[32] = checksum(ret, RSDP_BYTES);
}

int acpi_build(const struct topology *topology, const struct memory *memory, uint64_t gpa, uint8_t *ret, size_t size,
	       size_t *used, struct vmm_error *err)
{
	struct tables t = { .topology = topology, .memory = memory, .gpa = gpa, .ret = ret, .size = size };
	uint64_t xsdt_address;

	if (gpa % 64 || size > UINT32_MAX || gpa > UINT32_MAX - size)
		return error_set(err, EINVAL, "ACPI tables at %#llx: expected a multiple of 64 below 4 GiB",
				 (unsigned long long)gpa);
	put_bytes(&t, NULL, RSDP_BYTES);
	xsdt_address = put_tables(&t);
	if (t.full)
		return error_set(err, E2BIG, "ACPI tables of topology %un%ul%uc%ut: more than %zu bytes",
				 topology->nodes, topology->llcs, topology->cores, topology->threads, size);
	write_rsdp(ret, xsdt_address);
	*used = t.used;
	return 0;
}
