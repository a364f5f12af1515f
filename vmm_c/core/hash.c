// SPDX-License-Identifier: GPL-2.0-only
#include "hash.h"

#include <string.h>

uint64_t hash_bytes(uint64_t seed, const void *data, size_t bytes)
{
	uint64_t hash = seed ^ 0xcbf29ce484222325;

	for (size_t done = 0, n; done < bytes; done += n) {
		uint64_t word = 0;

		n = bytes - done < sizeof(word) ? bytes - done : sizeof(word);
		memcpy(&word, (const uint8_t *)data + done, n);
		hash = (hash ^ word) * 0x100000001b3;
		hash ^= hash >> 32; /* a product alone never lets high bits reach low ones */
	}
	return hash;
}
