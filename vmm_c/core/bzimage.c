// SPDX-License-Identifier: GPL-2.0-only
#include "bzimage.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>

#define SECTOR 512U
#define SETUP_HEADER 0x1f1
#define HEADER_JUMP 0x200 /* a short jump to the header's end */
#define VERSION_64BIT 0x020c
#define ENTRY_64BIT 0x200 /* from the start of the protected-mode kernel */

/* Its length is told by the jump over it; what an older kernel has behind it is code. */
static struct setup_header read_header(const uint8_t *header)
{
	struct setup_header setup = { 0 };
	size_t bytes = HEADER_JUMP + 2 + header[HEADER_JUMP + 1] - SETUP_HEADER;

	memcpy(&setup, header + SETUP_HEADER, MIN(bytes, sizeof(setup)));
	return setup;
}

static int check_header(const struct image *image, const struct setup_header *header, struct vmm_error *err)
{
	if (header->version < VERSION_64BIT)
		return error_set(err, ENOEXEC, "%s: boot protocol %u.%02u, expected 2.12 or later", image->path,
				 header->version >> 8, header->version & 0xff);
	if (!(header->xloadflags & XLF_KERNEL_64))
		return error_set(err, ENOEXEC, "%s: a 32-bit kernel, expected one for x86-64", image->path);
	return 0;
}

int bzimage_load(const struct image *image, const uint8_t *header, struct loaded_kernel *ret, struct vmm_error *err)
{
	struct setup_header setup = read_header(header);
	uint64_t offset, bytes, room;
	int rc = check_header(image, &setup, err);
	void *host;

	if (rc)
		return rc;
	offset = ((setup.setup_sects ? setup.setup_sects : 4U) + 1U) * SECTOR;
	bytes = setup.syssize * 16ULL; /* what follows in the file, a signature, is not loaded */
	if (bytes <= ENTRY_64BIT || offset + bytes > image->bytes + 15)
		return error_set(err, ENOEXEC, "%s: truncated, %llu bytes of a kernel of %llu", image->path,
				 (unsigned long long)image->bytes, (unsigned long long)(offset + bytes));
	bytes = MIN(bytes, image->bytes - offset); /* syssize is rounded up to paragraphs */
	room = MAX(bytes, setup.init_size); /* where it unpacks itself */
	host = image_place(image, setup.pref_address, room, err);
	if (!host)
		return -ENOMEM;
	*ret = (struct loaded_kernel){
		.entry = setup.pref_address + ENTRY_64BIT,
		.begin = setup.pref_address, .end = setup.pref_address + room,
		.initrd_max = setup.initrd_addr_max, .command_line_max = setup.cmdline_size,
		.setup = setup,
	};
	return image_read(image, offset, host, bytes, err);
}
