// SPDX-License-Identifier: GPL-2.0-only
/* The tables of ACPI 6.4 that a guest is given, each as the section named at it lists the fields. */
#pragma once

#include <stdint.h>

#define ACPI_PACKED __attribute__((packed))

/* 5.2.3.2: Generic Address Structure */
struct ACPI_PACKED acpi_generic_address {
	uint8_t address_space_id;
	uint8_t register_bit_width;
	uint8_t register_bit_offset;
	uint8_t access_size;
	uint64_t address;
};
_Static_assert(sizeof(struct acpi_generic_address) == 12, "layout");

#define ACPI_SYSTEM_IO 1 /* address space */

/* 5.2.5.3: Root System Description Pointer */
struct ACPI_PACKED acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of what revision 0 had: all before the length */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address;
	uint32_t length;
	uint64_t xsdt_address;
	uint8_t extended_checksum;
	uint8_t reserved[3];
};
_Static_assert(sizeof(struct acpi_rsdp) == 36, "layout");

/* 5.2.6: System Description Table Header. The XSDT (5.2.8) and the DSDT (5.2.11.1) have no other fixed fields. */
struct ACPI_PACKED acpi_header {
	char signature[4];
	uint32_t length; /* of the whole table, as the checksum */
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};
_Static_assert(sizeof(struct acpi_header) == 36, "layout");

/* 5.2.9: Fixed ACPI Description Table */
struct ACPI_PACKED acpi_fadt {
	struct acpi_header header;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t reserved1;
	uint8_t preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable;
	uint8_t acpi_disable;
	uint8_t s4bios_req;
	uint8_t pstate_cnt;
	uint32_t pm1a_evt_blk;
	uint32_t pm1b_evt_blk;
	uint32_t pm1a_cnt_blk;
	uint32_t pm1b_cnt_blk;
	uint32_t pm2_cnt_blk;
	uint32_t pm_tmr_blk;
	uint32_t gpe0_blk;
	uint32_t gpe1_blk;
	uint8_t pm1_evt_len;
	uint8_t pm1_cnt_len;
	uint8_t pm2_cnt_len;
	uint8_t pm_tmr_len;
	uint8_t gpe0_blk_len;
	uint8_t gpe1_blk_len;
	uint8_t gpe1_base;
	uint8_t cst_cnt;
	uint16_t p_lvl2_lat;
	uint16_t p_lvl3_lat;
	uint16_t flush_size;
	uint16_t flush_stride;
	uint8_t duty_offset;
	uint8_t duty_width;
	uint8_t day_alrm;
	uint8_t mon_alrm;
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_generic_address reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t fadt_minor_version;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	struct acpi_generic_address x_pm1a_evt_blk;
	struct acpi_generic_address x_pm1b_evt_blk;
	struct acpi_generic_address x_pm1a_cnt_blk;
	struct acpi_generic_address x_pm1b_cnt_blk;
	struct acpi_generic_address x_pm2_cnt_blk;
	struct acpi_generic_address x_pm_tmr_blk;
	struct acpi_generic_address x_gpe0_blk;
	struct acpi_generic_address x_gpe1_blk;
	struct acpi_generic_address sleep_control_reg;
	struct acpi_generic_address sleep_status_reg;
	uint64_t hypervisor_vendor_identity;
};
_Static_assert(sizeof(struct acpi_fadt) == 276, "layout");

/* 5.2.10: Firmware ACPI Control Structure */
struct ACPI_PACKED acpi_facs {
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t firmware_waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_firmware_waking_vector;
	uint8_t version;
	uint8_t reserved1[3];
	uint32_t ospm_flags;
	uint8_t reserved2[24];
};
_Static_assert(sizeof(struct acpi_facs) == 64, "layout");

/* 5.2.12: Multiple APIC Description Table; structures, each with its type and length, follow. */
struct ACPI_PACKED acpi_madt {
	struct acpi_header header;
	uint32_t local_interrupt_controller_address;
	uint32_t flags;
};
_Static_assert(sizeof(struct acpi_madt) == 44, "layout");

enum acpi_madt_type {
	ACPI_MADT_LOCAL_APIC = 0,
	ACPI_MADT_IO_APIC = 1,
	ACPI_MADT_INTERRUPT_SOURCE_OVERRIDE = 2,
	ACPI_MADT_LOCAL_APIC_NMI = 4,
	ACPI_MADT_LOCAL_X2APIC = 9,
	ACPI_MADT_LOCAL_X2APIC_NMI = 10,
};

/* 5.2.12.2: Processor Local APIC Structure */
struct ACPI_PACKED acpi_madt_local_apic {
	uint8_t type;
	uint8_t length;
	uint8_t acpi_processor_uid;
	uint8_t apic_id;
	uint32_t flags;
};
_Static_assert(sizeof(struct acpi_madt_local_apic) == 8, "layout");

/* 5.2.12.3: I/O APIC Structure */
struct ACPI_PACKED acpi_madt_io_apic {
	uint8_t type;
	uint8_t length;
	uint8_t io_apic_id;
	uint8_t reserved;
	uint32_t io_apic_address;
	uint32_t global_system_interrupt_base;
};
_Static_assert(sizeof(struct acpi_madt_io_apic) == 12, "layout");

/* 5.2.12.5: Interrupt Source Override Structure */
struct ACPI_PACKED acpi_madt_interrupt_source_override {
	uint8_t type;
	uint8_t length;
	uint8_t bus;
	uint8_t source;
	uint32_t global_system_interrupt;
	uint16_t flags;
};
_Static_assert(sizeof(struct acpi_madt_interrupt_source_override) == 10, "layout");

/* 5.2.12.7: Local APIC NMI Structure */
struct ACPI_PACKED acpi_madt_local_apic_nmi {
	uint8_t type;
	uint8_t length;
	uint8_t acpi_processor_uid;
	uint16_t flags;
	uint8_t local_apic_lint;
};
_Static_assert(sizeof(struct acpi_madt_local_apic_nmi) == 6, "layout");

/* 5.2.12.12: Processor Local x2APIC Structure */
struct ACPI_PACKED acpi_madt_local_x2apic {
	uint8_t type;
	uint8_t length;
	uint16_t reserved;
	uint32_t x2apic_id;
	uint32_t flags;
	uint32_t acpi_processor_uid;
};
_Static_assert(sizeof(struct acpi_madt_local_x2apic) == 16, "layout");

/* 5.2.12.13: Local x2APIC NMI Structure */
struct ACPI_PACKED acpi_madt_local_x2apic_nmi {
	uint8_t type;
	uint8_t length;
	uint16_t flags;
	uint32_t acpi_processor_uid;
	uint8_t local_x2apic_lint;
	uint8_t reserved[3];
};
_Static_assert(sizeof(struct acpi_madt_local_x2apic_nmi) == 12, "layout");

/* 5.2.16: System Resource Affinity Table; structures, each with its type and length, follow. */
struct ACPI_PACKED acpi_srat {
	struct acpi_header header;
	uint32_t reserved1; /* 1, for backward compatibility */
	uint64_t reserved2;
};
_Static_assert(sizeof(struct acpi_srat) == 48, "layout");

enum acpi_srat_type {
	ACPI_SRAT_MEMORY_AFFINITY = 1,
	ACPI_SRAT_LOCAL_X2APIC_AFFINITY = 2,
};

/* 5.2.16.2: Memory Affinity Structure */
struct ACPI_PACKED acpi_srat_memory_affinity {
	uint8_t type;
	uint8_t length;
	uint32_t proximity_domain;
	uint16_t reserved1;
	uint32_t base_address_low;
	uint32_t base_address_high;
	uint32_t length_low;
	uint32_t length_high;
	uint32_t reserved2;
	uint32_t flags;
	uint64_t reserved3;
};
_Static_assert(sizeof(struct acpi_srat_memory_affinity) == 40, "layout");

/* 5.2.16.3: Processor Local x2APIC Affinity Structure */
struct ACPI_PACKED acpi_srat_local_x2apic_affinity {
	uint8_t type;
	uint8_t length;
	uint16_t reserved1;
	uint32_t proximity_domain;
	uint32_t x2apic_id;
	uint32_t flags;
	uint32_t clock_domain;
	uint32_t reserved2;
};
_Static_assert(sizeof(struct acpi_srat_local_x2apic_affinity) == 24, "layout");

/* 5.2.17: System Locality Information Table; a byte for each pair of localities follows. */
struct ACPI_PACKED acpi_slit {
	struct acpi_header header;
	uint64_t number_of_system_localities;
};
_Static_assert(sizeof(struct acpi_slit) == 44, "layout");

/* 5.2.27: Heterogeneous Memory Attribute Table; structures, each with its type and length, follow. */
struct ACPI_PACKED acpi_hmat {
	struct acpi_header header;
	uint32_t reserved;
};
_Static_assert(sizeof(struct acpi_hmat) == 40, "layout");

enum acpi_hmat_type {
	ACPI_HMAT_MEMORY_PROXIMITY_DOMAIN_ATTRIBUTES = 0,
	ACPI_HMAT_LATENCY_AND_BANDWIDTH = 1,
};

/* 5.2.27.3: Memory Proximity Domain Attributes Structure */
struct ACPI_PACKED acpi_hmat_memory_proximity_domain_attributes {
	uint16_t type;
	uint16_t reserved1;
	uint32_t length;
	uint16_t flags;
	uint16_t reserved2;
	uint32_t proximity_domain_for_the_attached_initiator;
	uint32_t proximity_domain_for_the_memory;
	uint32_t reserved3;
	uint64_t reserved4;
	uint64_t reserved5;
};
_Static_assert(sizeof(struct acpi_hmat_memory_proximity_domain_attributes) == 40, "layout");

/*
 * 5.2.27.4: System Locality Latency and Bandwidth Information Structure; the domains of initiators, those of targets
 * (4 bytes each) and an entry of 2 bytes for each pair of them follow.
 */
struct ACPI_PACKED acpi_hmat_latency_and_bandwidth {
	uint16_t type;
	uint16_t reserved1;
	uint32_t length;
	uint8_t flags;
	uint8_t data_type;
	uint8_t min_transfer_size;
	uint8_t reserved2;
	uint32_t number_of_initiator_proximity_domains;
	uint32_t number_of_target_proximity_domains;
	uint32_t reserved3;
	uint64_t entry_base_unit;
};
_Static_assert(sizeof(struct acpi_hmat_latency_and_bandwidth) == 32, "layout");
