// SPDX-License-Identifier: GPL-2.0-only
/*
 * Without libFuzzer: define FUZZ_STANDALONE, and the program runs as many random inputs as its
 * argument says, the same ones each time. It prints how many bytes that were.
 */
#ifndef KTSTR_FUZZ_STANDALONE_H
#define KTSTR_FUZZ_STANDALONE_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#ifdef FUZZ_STANDALONE

#include <stdio.h>
#include <stdlib.h>

#define FUZZ_MAX_BYTES 2048U

/* xorshift64* */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

int main(int argc, char **argv)
{
	unsigned long runs = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	uint64_t state = 0x9e3779b97f4a7c15ULL, total = 0;

	for (unsigned long run = 0; run < runs; run++) {
		size_t bytes = 1 + (size_t)(next_random(&state) % FUZZ_MAX_BYTES);
		uint8_t *data = malloc(bytes); /* exactly as long, for ASan */

		if (!data)
			return 1;
		for (size_t i = 0; i < bytes; i++)
			data[i] = (uint8_t)(next_random(&state) >> 56);
		LLVMFuzzerTestOneInput(data, bytes);
		free(data);
		total += bytes;
	}
	printf("%lu inputs, %llu bytes\n", runs, (unsigned long long)total);
	return 0;
}

#endif
#endif
