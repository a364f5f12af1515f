// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CRC32_H
#define KTSTR_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 as in IEEE 802.3 and zlib. Start with 0; feed the result back to continue. */
uint32_t crc32_update(uint32_t crc, const void *data, size_t bytes);

#endif
