// SPDX-License-Identifier: GPL-2.0-only
/* A payload: so many of a spinner's additions, and nothing else. Prints how long they took, in ns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	uint64_t *units = calloc(1, sizeof(*units));
	uint64_t began;

	if (!units)
		return 1;
	began = now_ns();
	for (uint64_t i = 0; i < wanted; i++) {
		++*units;
		__asm__ volatile("" : "+m"(*units));
	}
	printf("%llu\n", (unsigned long long)(now_ns() - began));
	return *units != wanted;
}
