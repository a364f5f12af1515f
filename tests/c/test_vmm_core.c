// SPDX-License-Identifier: GPL-2.0-only
/* The parts of the VMM that need no KVM: memory, buses, loaders, boot parameters, power, the gate. */
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

#include "boot.h"
#include "budget.h"
#include "gate.h"
#include "irq.h"
#include "loader.h"
#include "power.h"
#include "vmm_test.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static struct vmm_error error;

static struct memory memory_of(uint64_t bytes, uint32_t nodes)
{
	struct memory memory;

	CHECK(memory_create(&memory, &(struct memory_plan){ .bytes = bytes, .nodes = nodes }, &error) == 0);
	return memory;
}

static bool says(const char *words)
{
	if (strstr(error.text, words))
		return true;
	fprintf(stderr, "expected \"%s\" in: %s\n", words, error.text);
	return false;
}

static void check_range(const struct memory *memory, uint32_t i, uint64_t gpa, uint64_t bytes, uint32_t node)
{
	CHECK(i < memory->count && memory->ranges[i].gpa == gpa);
	CHECK(memory->ranges[i].bytes == bytes && memory->ranges[i].node == node);
}

TEST(memory_of_one_node_goes_on_behind_the_hole)
{
	struct memory memory = memory_of(5 * GIB, 1);

	CHECK(memory.count == 2);
	check_range(&memory, 0, 0, 3 * GIB, 0);
	check_range(&memory, 1, 4 * GIB, 2 * GIB, 0);
	CHECK(memory_low_end(&memory) == 3 * GIB);
	memory_destroy(&memory);
}

TEST(only_the_node_at_the_hole_is_split)
{
	struct memory memory = memory_of(4 * GIB, 4);

	CHECK(memory.count == 4); /* the fourth begins behind the hole */
	check_range(&memory, 2, 2 * GIB, GIB, 2);
	check_range(&memory, 3, 4 * GIB, GIB, 3);
	memory_destroy(&memory);
	memory = memory_of(8 * GIB, 4);
	CHECK(memory.count == 5);
	check_range(&memory, 1, 2 * GIB, GIB, 1);
	check_range(&memory, 2, 4 * GIB, GIB, 1);
	check_range(&memory, 4, 7 * GIB, 2 * GIB, 3);
	memory_destroy(&memory);
}

TEST(nodes_have_the_memory_that_they_are_given)
{
	const uint64_t bytes[] = { 64 * MIB, 0, 4 * GIB, 2 * MIB };
	struct memory_plan plan = { .bytes = 4 * GIB + 66 * MIB, .nodes = 4, .node_bytes = bytes };
	struct memory memory;

	CHECK(memory_create(&memory, &plan, &error) == 0 && memory.count == 4);
	check_range(&memory, 0, 0, 64 * MIB, 0);
	check_range(&memory, 1, 64 * MIB, 3 * GIB - 64 * MIB, 2);
	check_range(&memory, 2, 4 * GIB, GIB + 64 * MIB, 2);
	check_range(&memory, 3, 5 * GIB + 64 * MIB, 2 * MIB, 3);
	memory_destroy(&memory);
	plan.bytes += 2 * MIB;
	CHECK(memory_create(&memory, &plan, &error) == -EINVAL);
	plan.bytes -= 4 * MIB;
	CHECK(memory_create(&memory, &plan, &error) == -EINVAL);
	plan = (struct memory_plan){ .bytes = 3 * MIB, .nodes = 2, .node_bytes = (const uint64_t[]){ MIB, 2 * MIB } };
	CHECK(memory_create(&memory, &plan, &error) == -EINVAL);
	memory_destroy(&memory);
}

TEST(memory_that_cannot_be_dealt_is_refused)
{
	struct memory memory;

	CHECK(memory_create(&memory, &(struct memory_plan){ .bytes = 0, .nodes = 1 }, &error) == -EINVAL);
	memory_destroy(&memory);
	CHECK(memory_create(&memory, &(struct memory_plan){ .bytes = 3 * MIB, .nodes = 1 }, &error) == -EINVAL && says("a multiple of 2 MiB"));
	CHECK(memory_create(&memory, &(struct memory_plan){ .bytes = 4 * MIB, .nodes = 4 }, &error) == -EINVAL);
	CHECK(memory_create(&memory, &(struct memory_plan){ .bytes = 64 * MIB, .nodes = 65 }, &error) == -EINVAL);
	CHECK(memory_create(&memory, &(struct memory_plan){ .bytes = 1ULL << 50, .nodes = 1 }, &error) == -EINVAL && says("at most 64 TiB"));
	CHECK(memory.count == 0);
	memory_destroy(&memory);
}

TEST(an_address_is_good_only_within_one_piece_of_ram)
{
	struct memory memory = memory_of(4 * GIB, 2);
	uint8_t *base = memory.ranges[0].host;

	CHECK(memory_at(&memory, 0, 4 * GIB) == NULL); /* the hole is in it */
	CHECK(memory_at(&memory, 0, 3 * GIB) == base);
	CHECK(memory_at(&memory, 2 * GIB - 8, 16) == base + 2 * GIB - 8); /* two nodes, one piece */
	CHECK(memory_at(&memory, 3 * GIB - 1, 1) == base + 3 * GIB - 1);
	CHECK(memory_at(&memory, 3 * GIB - 1, 2) == NULL);
	CHECK(memory_at(&memory, 3 * GIB, 1) == NULL && memory_at(&memory, 3 * GIB, 0) == NULL);
	CHECK(memory_at(&memory, 4 * GIB, 1) == base + 3 * GIB);
	CHECK(memory_at(&memory, 5 * GIB - 1, 2) == NULL);
	CHECK(memory_at(&memory, UINT64_MAX, 1) == NULL && memory_at(&memory, 16, UINT64_MAX) == NULL);
	CHECK(memory_at(&memory, UINT64_MAX - 15, 32) == NULL);
	memory_destroy(&memory);
}

TEST(copies_are_all_or_nothing)
{
	struct memory memory = memory_of(4 * GIB, 2);
	uint8_t data[16] = "0123456789abcde", found[16] = { 0 };

	CHECK(memory_write(&memory, 2 * GIB - 8, data, 16, &error) == 0);
	CHECK(memory_read(&memory, 2 * GIB - 8, found, 16, &error) == 0 && memcmp(data, found, 16) == 0);
	CHECK(memory_write(&memory, 3 * GIB - 8, data, 16, &error) == -EFAULT && says("0xbffffff8"));
	CHECK(memory_read(&memory, 3 * GIB - 8, found, 8, &error) == 0 && found[0] == 0);
	memory_destroy(&memory);
}

static void answer_offset(void *device, uint64_t offset, void *data, uint32_t len)
{
	(void)device;
	memset(data, (int)offset, len);
}

static void count_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	(void)offset;
	(void)data;
	*(uint32_t *)device += len;
}

TEST(a_bus_answers_only_whole_accesses_inside_a_window)
{
	static const struct bus_ops ops = { answer_offset, count_write };
	struct bus bus = { 0 };
	uint32_t written = 0, value = 0;

	CHECK(bus_add(&bus, 0x10, 8, &ops, &written));
	CHECK(!bus_add(&bus, 0x17, 1, &ops, &written) && !bus_add(&bus, 0, 0x11, &ops, &written));
	CHECK(!bus_add(&bus, 0x20, 0, &ops, &written) && !bus_add(&bus, UINT64_MAX, 2, &ops, &written));
	CHECK(bus_add(&bus, 0x18, 8, &ops, &written));
	bus_read(&bus, 0x12, &value, 2);
	CHECK(value == 0x0202);
	bus_read(&bus, 0x16, &value, 4); /* crosses from one to the other */
	CHECK(value == 0xffffffff);
	bus_write(&bus, 0x14, &value, 4);
	bus_write(&bus, 0x15, &value, 4);
	bus_write(&bus, 0x20, &value, 1);
	CHECK(written == 4);
}

TEST(power_goes_off_on_sleep_enable_with_type_five)
{
	struct machine *machine = machine_create(-1);
	struct power power;
	uint8_t bytes[6];

	power_init(&power, &machine->wires);
	power_ops.read(&power, 0, bytes, 6);
	CHECK(memcmp(bytes, "\0\0\0\0\1\0", 6) == 0); /* ACPI mode */
	power_ops.write(&power, 4, "\0\x14", 2); /* SLP_TYP 5 without SLP_EN */
	power_ops.write(&power, 4, "\0\x20", 2); /* SLP_EN for S0 */
	CHECK(machine->ended == -1);
	power_ops.read(&power, 4, bytes, 2);
	CHECK(memcmp(bytes, "\1\0", 2) == 0); /* SLP_EN is not kept */
	power_ops.write(&power, 4, "\0\x34", 2);
	CHECK(machine->ended == 0);
	machine_destroy(machine);
}

TEST(wide_msi_destinations_move_to_the_upper_address)
{
	CHECK(irq_widen_msi(0xfee03000) == 0xfee03000);
	CHECK(irq_widen_msi(0xfee01020) == 0x00000100fee01000ULL); /* destination 0x101 */
	CHECK(irq_widen_msi(0xfeeb1020) == 0x00000100feeb1000ULL); /* 433 = 0x1b1 */
	CHECK(irq_widen_msi(0xfee00fe0) == 0x00007f00fee00000ULL);
	CHECK(irq_widen_msi(0xfee00030) == 0xfee00030); /* remappable format */
}

/* A kernel of one segment at 16 MiB, before it is spoiled. */
struct elf_file {
	Elf64_Ehdr elf;
	Elf64_Phdr segment;
	uint8_t code[2048];
};

static struct elf_file elf_kernel(void)
{
	return (struct elf_file){
		.elf = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 }, .e_type = ET_EXEC,
			 .e_machine = EM_X86_64, .e_entry = 16 * MIB + 4, .e_phoff = 64, .e_phentsize = 56, .e_phnum = 1 },
		.segment = { .p_type = PT_LOAD, .p_offset = 120, .p_paddr = 16 * MIB, .p_filesz = 2048, .p_memsz = 8192 },
		.code = "kernel",
	};
}

static int load_bytes(const struct memory *memory, const void *bytes, size_t size, struct loaded_kernel *ret)
{
	char path[64];
	int fd = memfd_create("kernel", 0);
	int rc;

	CHECK(write(fd, bytes, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = loader_kernel(memory, path, ret, &error);
	close(fd);
	return rc;
}

static int load_elf(const struct elf_file *file)
{
	struct memory memory = memory_of(32 * MIB, 1);
	struct loaded_kernel kernel;
	int rc = load_bytes(&memory, file, sizeof(*file), &kernel);

	memory_destroy(&memory);
	return rc;
}

TEST(an_elf_kernel_is_loaded_where_it_says)
{
	struct memory memory = memory_of(32 * MIB, 1);
	struct elf_file file = elf_kernel();
	struct loaded_kernel kernel;

	CHECK(load_bytes(&memory, &file, sizeof(file), &kernel) == 0);
	CHECK(kernel.entry == 16 * MIB + 4 && kernel.begin == 16 * MIB && kernel.end == 16 * MIB + 8192);
	CHECK(memcmp(memory_at(&memory, 16 * MIB, 7), "kernel", 7) == 0);
	memory_destroy(&memory);
}

#define SPOILED(code, words, ...)                                       \
	do {                                                            \
		struct elf_file file = elf_kernel();                    \
		__VA_ARGS__;                                            \
		CHECK(load_elf(&file) == -(code) && says(words));       \
	} while (0)

TEST(a_file_that_is_no_kernel_is_refused_with_what_it_is)
{
	SPOILED(ENOEXEC, "ELF class 1", file.elf.e_ident[EI_CLASS] = ELFCLASS32);
	SPOILED(ENOEXEC, "machine 183", file.elf.e_machine = EM_AARCH64);
	SPOILED(ENOEXEC, "ELF type 1", file.elf.e_type = ET_REL);
	SPOILED(ENOEXEC, "neither", file.elf.e_ident[0] = 0);
	SPOILED(ENOEXEC, "program headers", file.elf.e_phnum = 0);
	SPOILED(ENOEXEC, "program headers", file.elf.e_phnum = 65535);
	SPOILED(ENOEXEC, "program headers", file.elf.e_phentsize = 8);
	SPOILED(ENOEXEC, "entry", file.elf.e_entry = 17 * MIB);
	SPOILED(EIO, "truncated", file.elf.e_phoff = 1ULL << 62);
	SPOILED(EIO, "truncated", file.segment.p_offset = 1024);
	SPOILED(ENOEXEC, "no kernel's", file.segment.p_filesz = 8193);
	SPOILED(ENOEXEC, "no kernel's", file.segment.p_paddr = 4096);
	SPOILED(ENOMEM, "give it more", file.segment.p_paddr = 32 * MIB - 4096);
	SPOILED(ENOMEM, "give it more", file.segment.p_paddr = UINT64_MAX - 4096);
	SPOILED(ENOMEM, "give it more", file.segment.p_memsz = UINT64_MAX);
	SPOILED(ENOEXEC, "entry", file.segment.p_type = PT_NOTE);
}

static void put(uint8_t *image, uint32_t offset, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		image[offset + i] = (uint8_t)(value >> (8 * i));
}

/* A setup sector, one more, and 1024 bytes of kernel; fields by their documented offsets. */
static void bzimage(uint8_t image[2048])
{
	memset(image, 0, 2048);
	put(image, 0x1f1, 1, 1); /* setup_sects */
	put(image, 0x1f4, 64, 4); /* syssize, in paragraphs */
	put(image, 0x1fe, 0xaa55, 2);
	put(image, 0x200, 0x66eb, 2); /* jump to 0x268, behind the header */
	memcpy(image + 0x202, "HdrS", 4);
	put(image, 0x206, 0x20f, 2); /* version */
	put(image, 0x22c, 0x7fffffff, 4); /* initrd_addr_max */
	put(image, 0x230, 0x200000, 4); /* kernel_alignment */
	put(image, 0x236, 1, 2); /* xloadflags: 64-bit entry */
	put(image, 0x238, 2047, 4); /* cmdline_size */
	put(image, 0x258, 16 * MIB, 8); /* pref_address */
	put(image, 0x260, 4 * MIB, 4); /* init_size */
	memcpy(image + 1024, "protected mode", 14);
}

static int load_bzimage(uint32_t offset, uint64_t value, uint32_t bytes, size_t size, struct loaded_kernel *ret)
{
	struct memory memory = memory_of(32 * MIB, 1);
	uint8_t image[2048];
	int rc;

	bzimage(image);
	put(image, offset, value, bytes);
	rc = load_bytes(&memory, image, size, ret);
	CHECK(rc || memcmp(memory_at(&memory, 16 * MIB, 14), "protected mode", 14) == 0);
	memory_destroy(&memory);
	return rc;
}

TEST(a_bzimage_is_loaded_where_it_prefers)
{
	struct loaded_kernel kernel;

	CHECK(load_bzimage(0, 0, 0, 2048, &kernel) == 0);
	CHECK(kernel.entry == 16 * MIB + 0x200 && kernel.begin == 16 * MIB && kernel.end == 20 * MIB);
	CHECK(kernel.initrd_max == 0x7fffffff && kernel.command_line_max == 2047);
	CHECK(kernel.setup.kernel_alignment == 0x200000 && kernel.setup.init_size == 4 * MIB);
}

TEST(a_bzimage_that_cannot_run_is_refused)
{
	struct loaded_kernel kernel;

	CHECK(load_bzimage(0x206, 0x20b, 2, 2048, &kernel) == -ENOEXEC && says("protocol 2.11"));
	CHECK(load_bzimage(0x236, 0, 2, 2048, &kernel) == -ENOEXEC && says("32-bit"));
	CHECK(load_bzimage(0x202, 0, 4, 2048, &kernel) == -ENOEXEC && says("neither"));
	CHECK(load_bzimage(0, 0, 0, 1900, &kernel) == -ENOEXEC && says("truncated"));
	CHECK(load_bzimage(0x1f1, 255, 1, 2048, &kernel) == -ENOEXEC && says("truncated"));
	CHECK(load_bzimage(0x1f4, 0xffffffff, 4, 2048, &kernel) == -ENOEXEC && says("truncated"));
	CHECK(load_bzimage(0x1f4, 0, 4, 2048, &kernel) == -ENOEXEC);
	CHECK(load_bzimage(0x260, 17 * MIB, 4, 2048, &kernel) == -ENOMEM && says("give it more"));
	CHECK(load_bzimage(0x258, 0, 8, 2048, &kernel) == -ENOMEM);
	CHECK(load_bzimage(0x258, UINT64_MAX, 8, 2048, &kernel) == -ENOMEM);
	CHECK(load_bzimage(0, 0, 0, 100, &kernel) == -ENOEXEC && says("100 bytes"));
}

/* Paths of two files with these bytes; the fds stay open as long as the program. */
static const char *file_of(const char *bytes, size_t size)
{
	static char paths[4][64];
	static int used;
	int fd = memfd_create("part", 0);

	CHECK(write(fd, bytes, size) == (ssize_t)size);
	snprintf(paths[used], sizeof(paths[used]), "/proc/self/fd/%d", fd);
	return paths[used++];
}

TEST(initrd_parts_follow_each_other_at_multiples_of_four)
{
	const char *parts[] = { file_of("first", 5), file_of("second", 6) };
	struct memory memory = memory_of(32 * MIB, 1);
	struct loaded_kernel kernel = { .end = 20 * MIB, .initrd_max = 0x7fffffff };
	struct loaded_initrd initrd;

	CHECK(loader_initrd(&memory, &kernel, parts, 2, &initrd, &error) == 0);
	CHECK(initrd.address == 32 * MIB - 4096 && initrd.bytes == 14);
	CHECK(memcmp(memory_at(&memory, initrd.address, 14), "first\0\0\0second", 14) == 0);
	kernel.initrd_max = 24 * MIB - 1;
	CHECK(loader_initrd(&memory, &kernel, parts, 2, &initrd, &error) == 0 && initrd.address == 24 * MIB - 4096);
	CHECK(loader_initrd(&memory, &kernel, NULL, 0, &initrd, &error) == 0 && initrd.bytes == 0);
	memory_destroy(&memory);
}

TEST(an_initrd_that_does_not_fit_is_refused)
{
	static const char zeros[8192];
	const char *parts[] = { file_of(zeros, sizeof(zeros)), "/nonexistent/part" };
	struct memory memory = memory_of(32 * MIB, 1);
	struct loaded_kernel kernel = { .end = 32 * MIB - 8191, .initrd_max = 0x7fffffff };
	struct loaded_initrd initrd;

	CHECK(loader_initrd(&memory, &kernel, parts, 1, &initrd, &error) == -ENOMEM && says("give the guest more memory"));
	kernel.end = 32 * MIB - 8192;
	CHECK(loader_initrd(&memory, &kernel, parts, 1, &initrd, &error) == 0 && initrd.address == kernel.end);
	CHECK(loader_initrd(&memory, &kernel, parts, 2, &initrd, &error) == -ENOENT && says("/nonexistent/part"));
	parts[1] = "/";
	CHECK(loader_initrd(&memory, &kernel, parts, 2, &initrd, &error) == -EINVAL && says("regular file"));
	memory_destroy(&memory);
}

static uint64_t get(const struct memory *memory, uint64_t gpa, uint32_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, memory_at(memory, gpa, bytes), bytes);
	return value;
}

/* Linux's struct boot_params by documented offset: Documentation/arch/x86/zero-page.rst. */
TEST(the_zero_page_says_what_is_where)
{
	struct memory memory = memory_of(4 * GIB, 1);
	struct loaded_kernel kernel = { .entry = 16 * MIB, .command_line_max = 2047 };
	struct loaded_initrd initrd = { 0xbff00000, 0x1234 };
	struct kvm_regs regs = boot_regs(&kernel);
	uint64_t zero = regs.rsi;
	static const uint64_t e820[5][3] = {
		{ 0, 0x9fc00, 1 }, { 0x9fc00, 0x400, 2 }, { 0xe0000, 0x20000, 2 },
		{ MIB, 3 * GIB - MIB, 1 }, { 4 * GIB, GIB, 1 },
	};

	CHECK(boot_write(&memory, &kernel, &initrd, "console=ttyS0 quiet", &error) == 0);
	CHECK(regs.rip == 16 * MIB && regs.rflags == 2);
	CHECK(get(&memory, zero + 0x070, 8) == 0xe0000); /* acpi_rsdp_addr */
	CHECK(get(&memory, zero + 0x1fe, 2) == 0xaa55 && memcmp(memory_at(&memory, zero + 0x202, 4), "HdrS", 4) == 0);
	CHECK(get(&memory, zero + 0x210, 1) == 0xff && get(&memory, zero + 0x218, 4) == 0xbff00000);
	CHECK(get(&memory, zero + 0x21c, 4) == 0x1234);
	CHECK(strcmp(memory_at(&memory, get(&memory, zero + 0x228, 4), 20), "console=ttyS0 quiet") == 0);
	CHECK(get(&memory, zero + 0x1e8, 1) == 5);
	for (uint32_t i = 0; i < 5; i++) {
		CHECK(get(&memory, zero + 0x2d0 + 20 * i, 8) == e820[i][0]);
		CHECK(get(&memory, zero + 0x2d8 + 20 * i, 8) == e820[i][1]);
		CHECK(get(&memory, zero + 0x2e0 + 20 * i, 4) == e820[i][2]);
	}
	memory_destroy(&memory);
}

/* The unpacker of a bzImage finds init_size (0x260) and kernel_alignment (0x230) there. */
TEST(the_zero_page_has_the_setup_header_of_a_bzimage)
{
	struct memory memory = memory_of(64 * MIB, 1);
	struct loaded_initrd initrd = { 0 };
	struct loaded_kernel kernel;
	uint8_t image[2048];
	uint64_t zero;

	bzimage(image);
	image[0x268] = 0x5a; /* code, not header */
	CHECK(load_bytes(&memory, image, sizeof(image), &kernel) == 0);
	CHECK(boot_write(&memory, &kernel, &initrd, "", &error) == 0);
	zero = boot_regs(&kernel).rsi;
	CHECK(get(&memory, zero + 0x260, 4) == 4 * MIB && get(&memory, zero + 0x230, 4) == 0x200000);
	CHECK(get(&memory, zero + 0x206, 2) == 0x20f && (get(&memory, zero + 0x211, 1) & 1) == 1);
	CHECK(get(&memory, zero + 0x268, 1) == 0);
	memory_destroy(&memory);
}

/* Walk as the CPU would, with its rules: SDM volume 3, 4.5. */
TEST(the_page_tables_map_four_gib_to_themselves)
{
	struct memory memory = memory_of(64 * MIB, 1);
	struct loaded_kernel kernel = { .command_line_max = 2047 };
	struct loaded_initrd initrd = { 0 };
	struct kvm_sregs sregs = { 0 };

	CHECK(boot_write(&memory, &kernel, &initrd, "", &error) == 0);
	boot_set_sregs(&sregs, false);
	CHECK(sregs.cr4 == 0x20 && sregs.efer == 0x500 && (sregs.cr0 & 0x80000001) == 0x80000001 && !sregs.apic_base);
	for (uint64_t address = 0; address < 4 * GIB; address += 509 * MIB + 4096) {
		uint64_t top = get(&memory, sregs.cr3 + (address >> 39) * 8, 8);
		uint64_t middle = get(&memory, (top & ~0xfffULL) + (address >> 30 & 511) * 8, 8);
		uint64_t leaf = get(&memory, (middle & ~0xfffULL) + (address >> 21 & 511) * 8, 8);

		CHECK((top & middle & leaf & 3) == 3 && !(middle & 0x80) && (leaf & 0x80));
		CHECK((leaf & ~0x1fffffULL) == (address & ~0x1fffffULL));
	}
	memory_destroy(&memory);
}

TEST(segments_are_the_ones_in_the_table)
{
	struct memory memory = memory_of(64 * MIB, 1);
	struct loaded_kernel kernel = { .command_line_max = 2047 };
	struct loaded_initrd initrd = { 0 };
	struct kvm_sregs sregs = { 0 };
	uint64_t code, data;

	CHECK(boot_write(&memory, &kernel, &initrd, "", &error) == 0);
	boot_set_sregs(&sregs, true);
	code = get(&memory, sregs.gdt.base + sregs.cs.selector, 8);
	data = get(&memory, sregs.gdt.base + sregs.ds.selector, 8);
	CHECK(code == 0x00af9b000000ffffULL && data == 0x00cf93000000ffffULL);
	CHECK(sregs.cs.l == 1 && sregs.cs.db == 0 && sregs.cs.type == 0xb && sregs.cs.present && sregs.cs.s);
	CHECK(sregs.ds.type == 3 && sregs.tr.s == 0 && sregs.tr.type == 0xb && sregs.gdt.limit >= sregs.tr.selector + 7);
	CHECK(sregs.apic_base == 0x400);
	memory_destroy(&memory);
}

TEST(a_command_line_too_long_for_the_kernel_is_refused)
{
	struct memory memory = memory_of(64 * MIB, 1);
	struct loaded_kernel kernel = { .command_line_max = 4 };
	struct loaded_initrd initrd = { 0 };

	CHECK(boot_write(&memory, &kernel, &initrd, "four", &error) == 0);
	CHECK(boot_write(&memory, &kernel, &initrd, "fives", &error) == -E2BIG && says("5 bytes, expected at most 4"));
	memory_destroy(&memory);
}

struct walker {
	struct gate *gate;
	atomic_uint steps;
};

static void *walk(void *arg)
{
	struct walker *walker = arg;

	if (gate_enter(walker->gate))
		do
			atomic_fetch_add(&walker->steps, 1);
		while (gate_pass(walker->gate));
	return NULL;
}

TEST(nobody_passes_a_gate_before_it_opens_or_after_the_end)
{
	const struct vmm_exit first = { .reason = VMM_RESET, .cpu = 3 }, second = { .reason = VMM_STOPPED };
	struct gate gate;
	struct walker walker = { .gate = &gate };
	struct vmm_exit end;
	pthread_t thread;

	CHECK(gate_init(&gate, &error) == 0);
	CHECK(pthread_create(&thread, NULL, walk, &walker) == 0);
	CHECK(gate_wait(&gate, 20, &end) == 0 && end.reason == VMM_RUNNING && atomic_load(&walker.steps) == 0);
	gate_release(&gate);
	while (atomic_load(&walker.steps) < 1000)
		sched_yield();
	gate_end(&gate, &first);
	gate_end(&gate, &second);
	CHECK(pthread_join(thread, NULL) == 0 && gate.inside == 0);
	CHECK(gate_wait(&gate, 0, &end) == 0); /* who ends it says when */
	gate_mark_ended(&gate);
	CHECK(gate_wait(&gate, -1, &end) == 1 && end.reason == VMM_RESET && end.cpu == 3);
	gate_release(&gate); /* of nothing: does not open it */
	CHECK(!gate_enter(&gate));
	gate_deinit(&gate);
}

/* Whatever the host has: a process in a cpuset or under taskset has less. */
TEST(the_budget_is_what_this_process_may_use)
{
	cpu_set_t all, one;
	uint32_t first = 0;

	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	CHECK(budget_cpus(NULL, 8) == (uint32_t)CPU_COUNT(&all));
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
	CHECK(budget_cpus(NULL, 8) == 1);
	CHECK(budget_cpus((const int32_t[]){ -1, -1 }, 2) == 1);
}

TEST(the_budget_of_pinned_cpus_is_where_they_are)
{
	cpu_set_t all;
	uint32_t allowed;

	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	allowed = (uint32_t)CPU_COUNT(&all);
	CHECK(budget_cpus((const int32_t[]){ 5, 6, 5, 7 }, 4) == 3); /* two share one */
	CHECK(budget_cpus((const int32_t[]){ 1000, 1001 }, 2) == 2);
	CHECK(budget_cpus((const int32_t[]){ 1000, -1 }, 2) == allowed + 1);
	CHECK(budget_cpus((const int32_t[]){ 1 << 30 }, 1) == 0); /* no host has it */
}
