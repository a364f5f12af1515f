// SPDX-License-Identifier: GPL-2.0-only
#include "boot.h"

#include <asm/bootparam.h>
#include <asm/processor-flags.h>
#include <errno.h>
#include <string.h>

/* Places in the first 640 KiB, which Linux copies from or leaves before it uses that memory. */
#define GDT 0x500ULL
#define ZERO_PAGE 0x7000ULL
#define STACK 0x8ff0ULL
#define PML4 0x9000ULL
#define PDPT 0xa000ULL
#define PAGE_DIRECTORIES 0xb000ULL /* one for each GiB */
#define MAPPED_GIB 4
#define COMMAND_LINE 0x20000ULL
#define LOW_END 0x9fc00ULL
#define HIGH_BEGIN 0x100000ULL

#define LOADER_UNDEFINED 0xff
#define PROTOCOL 0x020f
#define E820_RAM 1
#define E820_RESERVED 2

/* Access byte and flags of a descriptor, as in its bits 55 to 40. */
#define GDT_CODE64 0xa09bULL
#define GDT_DATA 0xc093ULL
#define GDT_TSS 0x808bULL
enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, SELECTOR_TSS = 0x20 }; /* __BOOT_CS, __BOOT_DS */

#define EFER_LME 0x100ULL
#define EFER_LMA 0x400ULL
#define APIC_BASE_X2APIC 0x400ULL

#define PAGE_PRESENT_WRITE 0x3ULL
#define PAGE_LARGE 0x80ULL

static void add_e820(struct boot_params *params, uint64_t begin, uint64_t end, uint32_t type)
{
	if (begin < end)
		params->e820_table[params->e820_entries++] = (struct boot_e820_entry){ begin, end - begin, type };
}

static void write_e820(struct boot_params *params, const struct memory *memory)
{
	uint64_t low = memory_low_end(memory);

	add_e820(params, 0, LOW_END, E820_RAM);
	add_e820(params, LOW_END, 0xa0000, E820_RESERVED);
	add_e820(params, BOOT_ACPI_BEGIN, HIGH_BEGIN, E820_RESERVED);
	add_e820(params, HIGH_BEGIN, low, E820_RAM);
	add_e820(params, MEMORY_HOLE_END, MEMORY_HOLE_END + (memory->bytes - low), E820_RAM);
}

static void write_zero_page(const struct memory *memory, const struct loaded_kernel *kernel,
			    const struct loaded_initrd *initrd)
{
	struct boot_params *params = memory_at(memory, ZERO_PAGE, sizeof(*params));
	struct setup_header *header = &params->hdr;

	*params = (struct boot_params){ .acpi_rsdp_addr = BOOT_ACPI_BEGIN, .hdr = kernel->setup };
	header->type_of_loader = LOADER_UNDEFINED;
	header->boot_flag = 0xaa55;
	memcpy(&header->header, "HdrS", 4);
	if (!header->version)
		header->version = PROTOCOL;
	header->loadflags |= LOADED_HIGH;
	header->cmd_line_ptr = COMMAND_LINE;
	header->ramdisk_image = (uint32_t)initrd->address;
	header->ramdisk_size = (uint32_t)initrd->bytes;
	header->setup_data = 0;
	write_e820(params, memory);
}

static void write_page_tables(const struct memory *memory)
{
	uint64_t *pml4 = memory_at(memory, PML4, 4096);
	uint64_t *pdpt = memory_at(memory, PDPT, 4096);
	uint64_t *directory = memory_at(memory, PAGE_DIRECTORIES, MAPPED_GIB * 4096);

	pml4[0] = PDPT | PAGE_PRESENT_WRITE;
	for (uint64_t i = 0; i < MAPPED_GIB; i++)
		pdpt[i] = (PAGE_DIRECTORIES + i * 4096) | PAGE_PRESENT_WRITE;
	for (uint64_t i = 0; i < MAPPED_GIB * 512; i++)
		directory[i] = i << 21 | PAGE_LARGE | PAGE_PRESENT_WRITE;
}

static void write_gdt(const struct memory *memory)
{
	uint64_t *gdt = memory_at(memory, GDT, 5 * 8);
	const uint64_t limit = 0xfULL << 48 | 0xffff; /* 4 GiB, from base 0 */

	gdt[SELECTOR_CODE / 8] = limit | GDT_CODE64 << 40;
	gdt[SELECTOR_DATA / 8] = limit | GDT_DATA << 40;
	gdt[SELECTOR_TSS / 8] = limit | GDT_TSS << 40;
}

int boot_write(const struct memory *memory, const struct loaded_kernel *kernel, const struct loaded_initrd *initrd,
	       const char *command_line, struct vmm_error *err)
{
	size_t bytes = strlen(command_line);

	if (bytes > kernel->command_line_max)
		return error_set(err, E2BIG, "the kernel's command line has %zu bytes, expected at most %u", bytes,
				 kernel->command_line_max);
	if (!memory_at(memory, 0, BOOT_ACPI_BEGIN) || COMMAND_LINE + bytes >= LOW_END)
		return error_set(err, E2BIG, "a command line of %zu bytes does not fit in low memory", bytes);
	memcpy(memory_at(memory, COMMAND_LINE, bytes + 1), command_line, bytes + 1);
	write_gdt(memory);
	write_page_tables(memory);
	write_zero_page(memory, kernel, initrd);
	return 0;
}

static struct kvm_segment segment(uint16_t selector, uint64_t flags)
{
	return (struct kvm_segment){
		.selector = selector,
		.limit = 0xffffffff,
		.type = flags & 0xf, .s = flags >> 4 & 1, .dpl = flags >> 5 & 3, .present = flags >> 7 & 1,
		.avl = flags >> 12 & 1, .l = flags >> 13 & 1, .db = flags >> 14 & 1, .g = flags >> 15 & 1,
	};
}

void boot_set_sregs(struct kvm_sregs *sregs, bool x2apic)
{
	sregs->cs = segment(SELECTOR_CODE, GDT_CODE64);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = segment(SELECTOR_DATA, GDT_DATA);
	sregs->tr = segment(SELECTOR_TSS, GDT_TSS);
	sregs->gdt = (struct kvm_dtable){ .base = GDT, .limit = SELECTOR_TSS + 7 };
	sregs->idt = (struct kvm_dtable){ 0 };
	sregs->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_PG;
	sregs->cr2 = 0;
	sregs->cr3 = PML4;
	sregs->cr4 = X86_CR4_PAE;
	sregs->efer = EFER_LME | EFER_LMA;
	if (x2apic)
		sregs->apic_base |= APIC_BASE_X2APIC;
}

struct kvm_regs boot_regs(const struct loaded_kernel *kernel)
{
	return (struct kvm_regs){
		.rip = kernel->entry, .rsi = ZERO_PAGE, .rsp = STACK, .rbp = STACK, .rflags = 2,
	};
}
