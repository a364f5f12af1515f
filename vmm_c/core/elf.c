// SPDX-License-Identifier: GPL-2.0-only
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "loader.h"

#define MAX_SEGMENTS 64

/* An ELF kernel has no setup header; these are the values of every x86-64 kernel since 2.6.27. */
#define INITRD_MAX 0x7fffffffU
#define COMMAND_LINE_MAX 2047U

static int check_header(const struct loader_file *file, const Elf64_Ehdr *elf, struct vmm_error *err)
{
	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != EM_X86_64)
		return error_set(err, ENOEXEC, "%s: ELF class %u for machine %u, expected a 64-bit x86-64 kernel",
				 file->path, elf->e_ident[EI_CLASS], elf->e_machine);
	if (elf->e_ident[EI_DATA] != ELFDATA2LSB || elf->e_type != ET_EXEC)
		return error_set(err, ENOEXEC, "%s: ELF type %u, expected the executable vmlinux", file->path, elf->e_type);
	if (elf->e_phentsize != sizeof(Elf64_Phdr) || elf->e_phnum == 0 || elf->e_phnum > MAX_SEGMENTS)
		return error_set(err, ENOEXEC, "%s: %u program headers of %u bytes, expected 1 to %d of %zu", file->path,
				 elf->e_phnum, elf->e_phentsize, MAX_SEGMENTS, sizeof(Elf64_Phdr));
	return 0;
}

/* New memory is zero, so .bss needs nothing. */
static int load_segment(const struct memory *memory, const struct loader_file *file, const Elf64_Phdr *segment,
			struct vmm_error *err)
{
	void *host = memory_at(memory, segment->p_paddr, segment->p_memsz);

	if (segment->p_filesz > segment->p_memsz || segment->p_paddr < LOADER_KERNEL_MIN)
		return error_set(err, ENOEXEC, "%s: segment of %llu bytes, %llu in the file, at %#llx is no kernel's",
				 file->path, (unsigned long long)segment->p_memsz, (unsigned long long)segment->p_filesz,
				 (unsigned long long)segment->p_paddr);
	if (!host || segment->p_paddr + segment->p_memsz > MEMORY_HOLE_BEGIN)
		return error_set(err, ENOMEM,
				 "%s: the kernel's %llu bytes at %#llx are not in the guest's low RAM of %llu MiB; give it more",
				 file->path, (unsigned long long)segment->p_memsz, (unsigned long long)segment->p_paddr,
				 (unsigned long long)(memory_low_end(memory) >> 20));
	return loader_read(file, segment->p_offset, host, segment->p_filesz, err);
}

static int load_segments(const struct memory *memory, const struct loader_file *file, const Elf64_Phdr *segments,
			 uint32_t count, struct loaded_kernel *ret, struct vmm_error *err)
{
	for (uint32_t i = 0; i < count; i++) {
		const Elf64_Phdr *segment = &segments[i];
		int rc;

		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		rc = load_segment(memory, file, segment, err);
		if (rc)
			return rc;
		if (segment->p_paddr < ret->begin)
			ret->begin = segment->p_paddr;
		if (segment->p_paddr + segment->p_memsz > ret->end)
			ret->end = segment->p_paddr + segment->p_memsz;
	}
	return 0;
}

int elf_load(const struct memory *memory, const struct loader_file *file, const uint8_t *header,
	     struct loaded_kernel *ret, struct vmm_error *err)
{
	Elf64_Phdr segments[MAX_SEGMENTS];
	Elf64_Ehdr elf;
	int rc;

	memcpy(&elf, header, sizeof(elf));
	rc = check_header(file, &elf, err);
	if (rc)
		return rc;
	rc = loader_read(file, elf.e_phoff, segments, elf.e_phnum * sizeof(segments[0]), err);
	if (rc)
		return rc;
	*ret = (struct loaded_kernel){
		.entry = elf.e_entry, .begin = UINT64_MAX, .initrd_max = INITRD_MAX, .command_line_max = COMMAND_LINE_MAX,
	};
	rc = load_segments(memory, file, segments, elf.e_phnum, ret, err);
	if (rc == 0 && (ret->entry < ret->begin || ret->entry >= ret->end))
		rc = error_set(err, ENOEXEC, "%s: its entry %#llx is not in what it loads (%#llx to %#llx)", file->path,
			       (unsigned long long)ret->entry, (unsigned long long)ret->begin,
			       (unsigned long long)ret->end);
	return rc;
}
