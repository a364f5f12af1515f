// SPDX-License-Identifier: GPL-2.0-only
/* Sections are those of ACPI 6.4, as in acpi_layouts.h. */
#include "tables.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "acpi_hmat.h"
#include "acpi_layouts.h"
#include "acpi_writer.h"
#include "pci.h"
#include "i8042.h"
#include "power.h"

#define IO_APIC_ADDRESS 0xfec00000U
#define LOCAL_APIC_ADDRESS 0xfee00000U
#define FIRST_X2APIC_ID 255 /* 255 is everybody in an 8-bit id */
#define ENABLED 1 /* the flag of CPUs and of memory */

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
static uint64_t put_dsdt(struct acpi_writer *w)
{
	const struct acpi_header header = acpi_header("DSDT", 2);
	size_t table = acpi_begin(w, &header, sizeof(header));

	acpi_put(w, dsdt, sizeof(dsdt));
	return acpi_end(w, table);
}

/* 5.2.10: no header, no checksum, version 2; nothing of it is used before the machine would sleep. */
static uint64_t put_facs(struct acpi_writer *w)
{
	struct acpi_facs facs = { .length = sizeof(facs), .version = 2 };

	memcpy(facs.signature, "FACS", sizeof(facs.signature));
	acpi_align(w, 64);
	return w->gpa + acpi_begin(w, &facs, sizeof(facs));
}

/* A register in I/O space, accessed by bytes or by words (5.2.3.2). */
static struct acpi_generic_address port(uint64_t address, uint8_t bytes)
{
	return (struct acpi_generic_address){
		.address_space_id = ACPI_SYSTEM_IO,
		.register_bit_width = bytes * 8,
		.access_size = bytes == 1 ? 1 : 2,
		.address = address,
	};
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
#define EVENT_BYTES 4
#define CONTROL_BYTES 2

/* 5.2.9. With no SMI command the machine is in ACPI mode from the start. */
static uint64_t put_fadt(struct acpi_writer *w, uint64_t facs_address, uint64_t dsdt_address)
{
	const struct acpi_fadt fadt = {
		.header = acpi_header("FACP", 6),
		.firmware_ctrl = (uint32_t)facs_address, /* below 4 GiB, and named once only: x_firmware_ctrl is 0 */
		.dsdt = (uint32_t)dsdt_address,
		.preferred_pm_profile = FADT_ENTERPRISE_SERVER,
		.sci_int = ACPI_SCI,
		.pm1a_evt_blk = POWER_PORT,
		.pm1a_cnt_blk = POWER_PORT + EVENT_BYTES,
		.pm1_evt_len = EVENT_BYTES,
		.pm1_cnt_len = CONTROL_BYTES,
		.p_lvl2_lat = FADT_NO_C2,
		.p_lvl3_lat = FADT_NO_C3,
		.iapc_boot_arch = FADT_BOOT_FLAGS,
		.flags = FADT_FLAGS,
		.reset_reg = port(I8042_PORT + 4, 1),
		.reset_value = FADT_RESET_PIN,
		.fadt_minor_version = FADT_MINOR,
		.x_dsdt = dsdt_address, /* again, with 64 bits */
		.x_pm1a_evt_blk = port(POWER_PORT, EVENT_BYTES),
		.x_pm1a_cnt_blk = port(POWER_PORT + EVENT_BYTES, CONTROL_BYTES),
	};

	return acpi_end(w, acpi_begin(w, &fadt, sizeof(fadt)));
}

static void put_madt_cpu(struct acpi_writer *w, const struct topology *topology, uint32_t cpu)
{
	uint32_t id = topology_apic_id(topology, cpu);
	const struct acpi_madt_local_apic apic = {
		.type = ACPI_MADT_LOCAL_APIC,
		.length = sizeof(apic),
		.acpi_processor_uid = (uint8_t)cpu,
		.apic_id = (uint8_t)id,
		.flags = ENABLED,
	};
	const struct acpi_madt_local_x2apic x2apic = {
		.type = ACPI_MADT_LOCAL_X2APIC,
		.length = sizeof(x2apic),
		.x2apic_id = id,
		.flags = ENABLED,
		.acpi_processor_uid = cpu,
	};

	if (id < FIRST_X2APIC_ID)
		acpi_put(w, &apic, sizeof(apic));
	else
		acpi_put(w, &x2apic, sizeof(x2apic));
}

static void put_madt_io_apic(struct acpi_writer *w)
{
	const struct acpi_madt_io_apic io_apic = {
		.type = ACPI_MADT_IO_APIC,
		.length = sizeof(io_apic),
		.io_apic_address = IO_APIC_ADDRESS,
	};

	acpi_put(w, &io_apic, sizeof(io_apic));
}

#define TIMER 0 /* the ISA interrupt */
#define TIMER_PIN 2
#define AS_ON_ISA 0 /* an edge that rises */
#define LEVEL_HIGH 0x0d

/* An ISA interrupt not wired to the pin of its number, or not an edge that rises. */
static void put_madt_override(struct acpi_writer *w, uint8_t source, uint32_t pin, uint16_t flags)
{
	const struct acpi_madt_interrupt_source_override override = {
		.type = ACPI_MADT_INTERRUPT_SOURCE_OVERRIDE,
		.length = sizeof(override),
		.source = source,
		.global_system_interrupt = pin,
		.flags = flags,
	};

	acpi_put(w, &override, sizeof(override));
}

/* NMI on LINT1 of all CPUs, in the entry of each kind of APIC id. */
static void put_madt_nmi(struct acpi_writer *w, const struct topology *topology)
{
	const struct acpi_madt_local_apic_nmi apic = {
		.type = ACPI_MADT_LOCAL_APIC_NMI,
		.length = sizeof(apic),
		.acpi_processor_uid = 0xff,
		.local_apic_lint = 1,
	};
	const struct acpi_madt_local_x2apic_nmi x2apic = {
		.type = ACPI_MADT_LOCAL_X2APIC_NMI,
		.length = sizeof(x2apic),
		.acpi_processor_uid = 0xffffffff,
		.local_x2apic_lint = 1,
	};

	acpi_put(w, &apic, sizeof(apic));
	if (topology_apic_id(topology, topology_cpus(topology) - 1) >= FIRST_X2APIC_ID)
		acpi_put(w, &x2apic, sizeof(x2apic));
}

/* 5.2.12. Linux numbers CPUs in the order found here. */
static uint64_t put_madt(struct acpi_writer *w, const struct topology *topology)
{
	const struct acpi_madt madt = {
		.header = acpi_header("APIC", 5),
		.local_interrupt_controller_address = LOCAL_APIC_ADDRESS,
		.flags = 1, /* there are 8259s, too */
	};
	size_t table = acpi_begin(w, &madt, sizeof(madt));

	for (uint32_t cpu = 0; cpu < topology_cpus(topology); cpu++)
		put_madt_cpu(w, topology, cpu);
	put_madt_io_apic(w);
	put_madt_override(w, TIMER, TIMER_PIN, AS_ON_ISA);
	put_madt_override(w, ACPI_SCI, ACPI_SCI, LEVEL_HIGH);
	put_madt_nmi(w, topology);
	return acpi_end(w, table);
}

static void put_srat_cpu(struct acpi_writer *w, const struct topology *topology, uint32_t cpu)
{
	const struct acpi_srat_local_x2apic_affinity affinity = {
		.type = ACPI_SRAT_LOCAL_X2APIC_AFFINITY,
		.length = sizeof(affinity),
		.proximity_domain = topology_node(topology, cpu),
		.x2apic_id = topology_apic_id(topology, cpu),
		.flags = ENABLED,
	};

	acpi_put(w, &affinity, sizeof(affinity));
}

static void put_srat_memory(struct acpi_writer *w, const struct memory_range *range)
{
	const struct acpi_srat_memory_affinity affinity = {
		.type = ACPI_SRAT_MEMORY_AFFINITY,
		.length = sizeof(affinity),
		.proximity_domain = range->node,
		.base_address_low = (uint32_t)range->gpa,
		.base_address_high = (uint32_t)(range->gpa >> 32),
		.length_low = (uint32_t)range->bytes,
		.length_high = (uint32_t)(range->bytes >> 32),
		.flags = ENABLED,
	};

	acpi_put(w, &affinity, sizeof(affinity));
}

/* 5.2.16 */
static uint64_t put_srat(struct acpi_writer *w, const struct topology *topology, const struct memory *memory)
{
	const struct acpi_srat srat = { .header = acpi_header("SRAT", 3), .reserved1 = 1 };
	size_t table = acpi_begin(w, &srat, sizeof(srat));

	for (uint32_t cpu = 0; cpu < topology_cpus(topology); cpu++)
		put_srat_cpu(w, topology, cpu);
	for (uint32_t i = 0; i < memory->count; i++)
		put_srat_memory(w, &memory->ranges[i]);
	return acpi_end(w, table);
}

/* 5.2.17 */
static uint64_t put_slit(struct acpi_writer *w, const struct topology *topology)
{
	uint32_t nodes = topology->nodes;
	const struct acpi_slit slit = { .header = acpi_header("SLIT", 1), .number_of_system_localities = nodes };
	size_t table = acpi_begin(w, &slit, sizeof(slit));

	for (uint32_t node = 0; node < nodes; node++)
		acpi_put(w, topology->distance[node], nodes);
	return acpi_end(w, table);
}

/* 5.2.8. Gives the address of the XSDT. */
static uint64_t put_tables(struct acpi_writer *w, const struct topology *topology, const struct memory *memory)
{
	uint64_t facs_address = put_facs(w);
	uint64_t dsdt_address = put_dsdt(w);
	const struct acpi_header xsdt = acpi_header("XSDT", 1);
	uint64_t listed[5];
	size_t count = 0, table;

	listed[count++] = put_fadt(w, facs_address, dsdt_address);
	listed[count++] = put_madt(w, topology);
	listed[count++] = put_srat(w, topology, memory);
	listed[count++] = put_slit(w, topology);
	if (topology->nodes > 1)
		listed[count++] = acpi_put_hmat(w, topology, memory);
	table = acpi_begin(w, &xsdt, sizeof(xsdt));
	acpi_put(w, listed, count * sizeof(listed[0]));
	return acpi_end(w, table);
}

/* 5.2.5.3, revision 2; into the room left for it. */
static void write_rsdp(uint8_t *ret, uint64_t xsdt_address)
{
	struct acpi_rsdp rsdp = { .revision = 2, .length = sizeof(rsdp), .xsdt_address = xsdt_address };

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, ACPI_OEM_ID, sizeof(rsdp.oem_id));
	rsdp.checksum = acpi_checksum(&rsdp, offsetof(struct acpi_rsdp, length)); /* where revision 0 ended */
	rsdp.extended_checksum = acpi_checksum(&rsdp, sizeof(rsdp));
	memcpy(ret, &rsdp, sizeof(rsdp));
}

int acpi_build(const struct topology *topology, const struct memory *memory, uint64_t gpa, uint8_t *ret, size_t size,
	       size_t *used, struct vmm_error *err)
{
	struct acpi_writer w = { .gpa = gpa, .ret = ret, .size = size };
	uint64_t xsdt_address;

	if (gpa % 64 || size > UINT32_MAX || gpa > UINT32_MAX - size)
		return error_set(err, EINVAL, "ACPI tables at %#llx: expected a multiple of 64 below 4 GiB",
				 (unsigned long long)gpa);
	acpi_put(&w, NULL, sizeof(struct acpi_rsdp));
	xsdt_address = put_tables(&w, topology, memory);
	if (w.full)
		return error_set(err, E2BIG, "ACPI tables of topology %un%ul%uc%ut: more than %zu bytes",
				 topology->nodes, topology->llcs, topology->cores, topology->threads, size);
	write_rsdp(ret, xsdt_address);
	*used = w.used;
	return 0;
}
