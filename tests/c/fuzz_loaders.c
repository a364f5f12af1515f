// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz target of files that become guest memory: the input is a kernel, most often one whose headers
 * are nearly right, then an initrd. Loaders refuse with a cause, or have put the file's bytes where
 * they say and nothing outside RAM.
 */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "fuzz_standalone.h"
#include "loader.h"
#include "vmm_driver.h"

#define MIB (1ULL << 20)
#define STEP (64U << 10)
#define STEPS_FROM_2_MIB 16U

enum kind { RAW, ELF_KERNEL, BZIMAGE, KINDS };

struct choices {
	uint8_t kind;
	uint8_t steps; /* of RAM above 2 MiB */
	uint8_t parts; /* of the initrd, and where an ELF kernel is entered */
	uint8_t changes; /* of the header that is nearly right; and whether the file is cut */
	uint8_t gap; /* pages that the kernel leaves free, for an odd number: else it is small */
};

struct change {
	uint8_t at;
	uint8_t bytes;
	int16_t small; /* the field becomes this, or is changed by it, or takes the eight bytes that follow */
	uint64_t value;
};

static struct vmm_error error;
static char path[64];

static int the_file(void)
{
	static int fd;

	if (!fd) {
		fd = memfd_create("kernel", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	return fd;
}

/* A file of at least a header, with the rest of the input in it. */
static size_t compose(uint8_t *file, size_t room, enum kind kind, const uint8_t *data, size_t bytes)
{
	size_t n = bytes < room ? bytes : room;
	size_t size = kind == RAW ? n : room;

	memset(file, 0, room);
	if (n)
		memcpy(file + (kind == RAW ? 0 : room - n), data, n);
	return size;
}

static void put(uint8_t *file, uint32_t at, uint64_t value, uint32_t bytes)
{
	memcpy(file + at, &value, bytes);
}

/* Its first byte, its last, or the one behind it. */
static uint64_t entry_of(const struct choices *choices, uint64_t kernel_bytes)
{
	if (choices->parts & 0x80)
		return MIB;
	return MIB + kernel_bytes - (choices->parts >> 4 & 1);
}

/* Two segments from 1 MiB on. */
static void put_elf(uint8_t *file, uint64_t kernel_bytes, uint64_t entry)
{
	const Elf64_Ehdr elf = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 }, .e_type = ET_EXEC,
		.e_machine = EM_X86_64, .e_entry = entry, .e_phoff = 64, .e_phentsize = 56, .e_phnum = 2,
	};
	const Elf64_Phdr segments[] = {
		{ .p_type = PT_LOAD, .p_offset = 1024, .p_paddr = MIB, .p_filesz = 2048, .p_memsz = 4096 },
		{ .p_type = PT_LOAD, .p_offset = 2048, .p_paddr = MIB + 4096, .p_filesz = 1024,
		  .p_memsz = kernel_bytes - 4096 },
	};

	memcpy(file, &elf, sizeof(elf));
	memcpy(file + sizeof(elf), segments, sizeof(segments));
}

/* Fields at their offsets in Documentation/arch/x86/boot.rst. */
static void put_bzimage(uint8_t *file, uint64_t kernel_bytes)
{
	put(file, 0x1f1, 1, 1); /* setup_sects */
	put(file, 0x1f4, 128, 4); /* syssize, in paragraphs */
	put(file, 0x1fe, 0xaa55, 2);
	put(file, 0x200, 0x66eb, 2);
	put(file, 0x202, 0x53726448, 4); /* HdrS */
	put(file, 0x206, 0x20f, 2);
	put(file, 0x22c, 0x7fffffff, 4); /* initrd_addr_max */
	put(file, 0x236, 1, 2); /* xloadflags */
	put(file, 0x238, 2047, 4); /* cmdline_size */
	put(file, 0x258, MIB, 8); /* pref_address */
	put(file, 0x260, kernel_bytes, 4); /* init_size */
}

/* Headers: 176 bytes of an ELF file, or 0x1f1 to 0x2f0 of a bzImage. */
static void change_header(uint8_t *file, enum kind kind, const struct change *change)
{
	uint32_t bytes = 1U << change->bytes % 4;
	uint32_t at = kind == ELF_KERNEL ? change->at % (176 - 8) : 0x1f1 + change->at % (0x80 - 8);

	uint64_t value = 0;

	if (change->bytes & 0x40)
		memcpy(&value, file + at, bytes);
	put(file, at, change->bytes & 0x80 ? change->value : value + (uint64_t)change->small, bytes);
}

/* The bytes of the file at an offset are those in RAM. */
static bool same(const struct memory *memory, uint64_t gpa, const uint8_t *file, uint64_t bytes)
{
	return memcmp(memory_at(memory, gpa, bytes), file, bytes) == 0;
}

static void check_kernel(const struct memory *memory, const struct loaded_kernel *kernel, const uint8_t *file,
			 size_t size)
{
	CHECK(kernel->begin >= MIB && kernel->begin < kernel->end && kernel->end <= memory->bytes);
	CHECK(memory_at(memory, kernel->begin, kernel->end - kernel->begin));
	if (file[0] == 0x7f) {
		CHECK(kernel->entry >= kernel->begin && kernel->entry < kernel->end);
	} else {
		size_t offset = ((file[0x1f1] ? file[0x1f1] : 4U) + 1U) * 512U;

		uint32_t paragraphs;

		memcpy(&paragraphs, file + 0x1f4, sizeof(paragraphs));
		CHECK(kernel->entry == kernel->begin + 0x200 && offset + 0x200 < size);
		CHECK(offset + paragraphs * 16ULL <= size + 15); /* all of it is there */
		CHECK(same(memory, kernel->begin, file + offset, 0x200));
	}
}

static void check_refusal(int rc)
{
	CHECK(rc == -ENOEXEC || rc == -ENOMEM || rc == -EIO || rc == -EINVAL);
	CHECK(error.code == -rc && memchr(error.text, 0, sizeof(error.text)) && strlen(error.text) > 20);
}

/* The same file as so many parts of an initrd. */
static void check_initrd(const struct memory *memory, const struct loaded_kernel *kernel, uint32_t parts,
			 const uint8_t *file, size_t size)
{
	const char *const paths[] = { path, path, path };
	struct loaded_initrd initrd = { 0 };
	uint64_t step = (size + 3) & ~3ULL;
	int rc = loader_initrd(memory, kernel, paths, parts, &initrd, &error);

	if (rc)
		CHECK(rc == -ENOMEM && strstr(error.text, "does not fit"));
	if (rc || !parts)
		return;
	CHECK(initrd.bytes == step * (parts - 1) + size && initrd.address % 4096 == 0);
	CHECK(initrd.address >= kernel->end && initrd.address + initrd.bytes <= memory->bytes);
	CHECK(initrd.address + initrd.bytes <= kernel->initrd_max + 1ULL);
	for (uint32_t i = 0; i < parts; i++)
		CHECK(same(memory, initrd.address + i * step, file, size));
}

static void load(const struct memory *memory, uint32_t parts, const uint8_t *file, size_t size)
{
	struct loaded_kernel kernel;
	int before = dup(0), after, rc;

	close(before);
	CHECK(ftruncate(the_file(), 0) == 0 && pwrite(the_file(), file, size, 0) == (ssize_t)size);
	rc = loader_kernel(memory, path, &kernel, &error);
	if (rc) {
		check_refusal(rc);
	} else {
		check_kernel(memory, &kernel, file, size);
		check_initrd(memory, &kernel, parts, file, size);
	}
	after = dup(0); /* the lowest free one: nothing was left open */
	CHECK(before == after);
	close(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t file[4096];
	struct memory memory = { .count = 1 };
	struct choices choices;
	size_t at = sizeof(choices), size;
	uint64_t kernel_bytes;
	enum kind kind;

	if (bytes < sizeof(choices))
		return 0;
	memcpy(&choices, data, sizeof(choices));
	kind = choices.kind % KINDS;
	size = compose(file, sizeof(file), kind, data + at, bytes - at);
	memory.bytes = 2 * MIB + choices.steps % STEPS_FROM_2_MIB * STEP;
	kernel_bytes = choices.gap & 1 ? memory.bytes - MIB - (choices.gap >> 1) % 8 * 4096 : 0x20000;
	if (kind == ELF_KERNEL)
		put_elf(file, kernel_bytes, entry_of(&choices, kernel_bytes));
	else if (kind == BZIMAGE)
		put_bzimage(file, kernel_bytes);
	for (uint32_t i = 0; kind != RAW && i < choices.changes % 4U && at + sizeof(struct change) <= bytes; i++) {
		struct change change;

		memcpy(&change, data + at, sizeof(change));
		change_header(file, kind, &change);
		at += sizeof(change);
	}
	if (kind != RAW && choices.changes & 0x80)
		size -= choices.changes;
	/* On the heap, so that ASan knows its end. */
	memory.ranges[0] = (struct memory_range){ 0, memory.bytes, 0, calloc(1, memory.bytes) };
	CHECK(the_file() > 0 && memory.ranges[0].host);
	load(&memory, choices.parts % 4, file, size);
	free(memory.ranges[0].host);
	return 0;
}
