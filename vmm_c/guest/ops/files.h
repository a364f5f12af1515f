// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_FILES_H
#define KTSTR_FILES_H

#include <stdint.h>

/* Write back what files held before a scope's Writes changed them; 0 for all that are left. Reports its errors. */
void files_restore(uint32_t scope);

/* Send what a file holds, as what an op read. Reports its errors. */
void files_send(const char *path, uint32_t op);

#endif
