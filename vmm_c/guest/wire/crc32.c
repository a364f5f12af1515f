// SPDX-License-Identifier: GPL-2.0-only
/* CRC-32, polynomial 0x04C11DB7 reflected, eight bytes a step: samples are megabytes. */
#include "wire/crc32.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0xEDB88320u

static uint32_t table[8][256];
static bool table_ready;

static void build_table(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
		table[0][byte] = crc;
	}
	for (int lane = 1; lane < 8; lane++)
		for (uint32_t byte = 0; byte < 256; byte++) {
			uint32_t before = table[lane - 1][byte];

			table[lane][byte] = (before >> 8) ^ table[0][before & 0xff];
		}
	table_ready = true;
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t bytes)
{
	const uint8_t *p = data;

	if (!table_ready)
		build_table();
	crc = ~crc;
	for (; bytes >= 8; bytes -= 8, p += 8) {
		uint32_t low, high;

		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low ^= crc;
		crc = table[7][low & 0xff] ^ table[6][(low >> 8) & 0xff] ^ table[5][(low >> 16) & 0xff] ^
		      table[4][low >> 24] ^ table[3][high & 0xff] ^ table[2][(high >> 8) & 0xff] ^
		      table[1][(high >> 16) & 0xff] ^ table[0][high >> 24];
	}
	for (; bytes; bytes--, p++)
		crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}
