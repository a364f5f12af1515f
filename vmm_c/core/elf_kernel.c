// SPDX-License-Identifier: GPL-2.0-only
#include "elf_kernel.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/param.h>

#define MAX_SEGMENTS 64

/* An ELF kernel has no setup header; these are the values of every x86-64 kernel since 2.6.27. */
#define INITRD_MAX 0x7fffffffU
#define COMMAND_LINE_MAX 2047U

static int check_header(const struct image *image, const Elf64_Ehdr *elf, struct vmm_error *err)
{
	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_ident[EI_DATA] != ELFDATA2LSB || elf->e_type != ET_EXEC ||
	    elf->e_machine != EM_X86_64)
		return error_set(err, ENOEXEC, "%s: ELF class %u, ELF type %u, machine %u; expected the vmlinux of x86-64",
				 image->path, elf->e_ident[EI_CLASS], elf->e_type, elf->e_machine);
	if (elf->e_phentsize != sizeof(Elf64_Phdr) || elf->e_phnum == 0 || elf->e_phnum > MAX_SEGMENTS)
		return error_set(err, ENOEXEC, "%s: %u program headers of %u bytes, expected 1 to %d of %zu", image->path,
				 elf->e_phnum, elf->e_phentsize, MAX_SEGMENTS, sizeof(Elf64_Phdr));
	return 0;
}

/* New memory is zero, so .bss needs nothing. */
static int load_segment(const struct image *image, const Elf64_Phdr *segment, struct vmm_error *err)
{
	void *host;

	if (segment->p_filesz > segment->p_memsz || segment->p_paddr < IMAGE_KERNEL_MIN)
		return error_set(err, ENOEXEC, "%s: segment of %llu bytes, %llu in the file, at %#llx is no kernel's",
				 image->path, (unsigned long long)segment->p_memsz, (unsigned long long)segment->p_filesz,
				 (unsigned long long)segment->p_paddr);
	host = image_place(image, segment->p_paddr, segment->p_memsz, err);
	return host ? image_read(image, segment->p_offset, host, segment->p_filesz, err) : -ENOMEM;
}

int elf_kernel_load(const struct image *image, const uint8_t *header, struct loaded_kernel *ret, struct vmm_error *err)
{
	Elf64_Phdr segments[MAX_SEGMENTS];
	Elf64_Ehdr elf;
	int rc;

	memcpy(&elf, header, sizeof(elf));
	rc = check_header(image, &elf, err);
	if (rc)
		return rc;
	*ret = (struct loaded_kernel){
		.entry = elf.e_entry, .begin = UINT64_MAX, .initrd_max = INITRD_MAX, .command_line_max = COMMAND_LINE_MAX,
	};
	rc = image_read(image, elf.e_phoff, segments, elf.e_phnum * sizeof(segments[0]), err);
	for (const Elf64_Phdr *segment = segments; rc == 0 && segment < segments + elf.e_phnum; segment++) {
		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		rc = load_segment(image, segment, err);
		ret->begin = MIN(ret->begin, segment->p_paddr);
		ret->end = MAX(ret->end, segment->p_paddr + segment->p_memsz);
	}
	if (rc == 0 && (ret->entry < ret->begin || ret->entry >= ret->end))
		rc = error_set(err, ENOEXEC, "%s: its entry %#llx is not in what it loads (%#llx to %#llx)", image->path,
			       (unsigned long long)ret->entry, (unsigned long long)ret->begin,
			       (unsigned long long)ret->end);
	return rc;
}
