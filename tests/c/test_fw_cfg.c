// SPDX-License-Identifier: GPL-2.0-only
/* What the agent makes of QEMU's fw_cfg, with a buffer in place of the I/O ports. */
#include <endian.h>
#include <stdint.h>
#include <sys/io.h>

#include "agent_test.h"

#define insb from_buffer
#define outw choose
#define fw_cfg_open tested_open
#define fw_cfg_close tested_close
#define fw_cfg_fetch tested_fetch

static void from_buffer(unsigned short port, void *to, unsigned long bytes);
static void choose(unsigned short value, unsigned short port);

#include "../../vmm_c/guest/wire/fw_cfg.c"

#define FILES 3
#define FIRST_FILE 0x20

static struct {
	uint32_t count;
	struct entry entries[FILES];
} directory;
static uint8_t files[FILES][16];
static uint16_t chosen;
static unsigned long at, pulled;

/* As the device: zeros where nothing is (any more). */
static void from_buffer(unsigned short port, void *to, unsigned long bytes)
{
	const uint8_t *from = chosen == 0x19 ? (uint8_t *)&directory : files[(chosen - FIRST_FILE) % FILES];
	unsigned long size = chosen == 0x19 ? sizeof(directory) : sizeof(files[0]);

	CHECK(port == 0x511);
	pulled += bytes;
	for (unsigned long i = 0; i < bytes; i++, at++)
		((uint8_t *)to)[i] = at < size ? from[at] : 0;
}

static void choose(unsigned short value, unsigned short port)
{
	CHECK(port == 0x510);
	chosen = value;
	at = 0;
}

static void have(uint32_t i, const char *name, uint32_t size)
{
	size_t length = strnlen(name, sizeof(directory.entries[i].name));

	directory.count = htobe32(FILES);
	directory.entries[i] = (struct entry){ .size = htobe32(size), .select = htobe16((uint16_t)(FIRST_FILE + i)) };
	memcpy(directory.entries[i].name, name, length);
	memset(files[i], 'a' + (int)i, sizeof(files[i]));
}

static void have_all(void)
{
	have(0, "bootorder", 4);
	have(1, "opt/ktstr/program", 7);
	have(2, "opt/ktstr/program2", 5);
}

TEST(a_file_is_found_by_its_whole_name)
{
	size_t bytes = 0;
	char why[256];
	char *data;

	have_all();
	data = tested_fetch("opt/ktstr/program", 7, &bytes, why, sizeof(why));
	CHECK(data && bytes == 7 && memcmp(data, "bbbbbbb", 7) == 0);
	free(data);
	data = tested_fetch("opt/ktstr/program2", 16, &bytes, why, sizeof(why));
	CHECK(data && bytes == 5 && memcmp(data, "ccccc", 5) == 0);
	free(data);
}

TEST(a_file_that_is_not_there_is_named)
{
	size_t bytes = 0;
	char why[256];

	have_all();
	CHECK(!tested_fetch("opt/ktstr", 16, &bytes, why, sizeof(why)));
	CHECK(strcmp(why, "no file opt/ktstr") == 0);
	directory.count = htobe32(1); /* what follows is not of it */
	CHECK(!tested_fetch("opt/ktstr/program", 16, &bytes, why, sizeof(why)));
}

TEST(a_file_larger_than_it_may_be_is_not_pulled)
{
	size_t bytes = 0;
	char why[256];

	have_all();
	pulled = 0;
	CHECK(!tested_fetch("opt/ktstr/program", 6, &bytes, why, sizeof(why)));
	CHECK(strcmp(why, "opt/ktstr/program of 7 bytes, at most 6") == 0);
	CHECK(pulled == sizeof(uint32_t) + 2 * sizeof(struct entry));
	have(1, "opt/ktstr/program", UINT32_MAX);
	CHECK(!tested_fetch("opt/ktstr/program", KTSTR_MAX_PROGRAM_BYTES, &bytes, why, sizeof(why)));
	CHECK(strcmp(why, "opt/ktstr/program of 4294967295 bytes, at most 4194304") == 0);
}

TEST(a_directory_that_claims_billions_of_files_ends)
{
	size_t bytes = 0;
	char why[256];

	have_all();
	directory.count = UINT32_MAX;
	pulled = 0;
	CHECK(!tested_fetch("opt/other", 16, &bytes, why, sizeof(why)));
	CHECK(pulled == sizeof(uint32_t) + MAX_FILES * sizeof(struct entry));
}

TEST(a_name_that_fills_its_place_has_no_end_of_its_own)
{
	static const char longest[] = "opt/56-bytes-of-name-are-the-most-that-an-entry-can-have";
	size_t bytes = 0;
	char why[256];
	void *data;

	CHECK(sizeof(longest) - 1 == sizeof(directory.entries[0].name));
	have_all();
	have(0, longest, 3);
	data = tested_fetch(longest, 16, &bytes, why, sizeof(why));
	CHECK(data && bytes == 3);
	free(data);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	RUN(a_file_is_found_by_its_whole_name)
	RUN(a_file_that_is_not_there_is_named)
	RUN(a_file_larger_than_it_may_be_is_not_pulled)
	RUN(a_directory_that_claims_billions_of_files_ends)
	RUN(a_name_that_fills_its_place_has_no_end_of_its_own)
	fprintf(stderr, "no test named %s\n", argv[1]);
	return 2;
}
