// SPDX-License-Identifier: GPL-2.0-only
/* A program of unit tests: each TEST is run by its name, given as the argument. */
#ifndef KTSTR_VMM_TEST_H
#define KTSTR_VMM_TEST_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm_driver.h"

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

static struct test *tests;

#define TEST(title)                                                  \
	static void title(void);                                     \
	__attribute__((constructor)) static void add_##title(void)   \
	{                                                            \
		static struct test test = { #title, title, NULL };   \
		test.next = tests;                                   \
		tests = &test;                                       \
	}                                                            \
	static void title(void)

static inline int output_file(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static inline void check_output(int fd, const char *expected)
{
	char found[4096];
	ssize_t n = pread(fd, found, sizeof(found), 0);

	CHECK(n == (ssize_t)strlen(expected) && memcmp(found, expected, (size_t)n) == 0);
}

int main(int argc, char **argv)
{
	for (const struct test *test = tests; test && argc == 2; test = test->next) {
		if (strcmp(argv[1], test->name))
			continue;
		test->run();
		return 0;
	}
	fprintf(stderr, "usage: %s NAME\n", argv[0]);
	return 2;
}

#endif
