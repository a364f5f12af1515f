// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_FW_CFG_H
#define KTSTR_FW_CFG_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Files that QEMU hands a guest through two I/O ports (docs/specs/fw_cfg.rst of QEMU). The CPU pulls
 * each byte, so there is no driver, no interrupt and no moment of the host's in it.
 */

/* May this process use I/O ports? Else why not: no CONFIG_X86_IOPL_IOPERM, or lockdown. */
bool fw_cfg_open(char *why, size_t why_size);
/* Give them up: a child would inherit them, and take the slow way through every context switch. */
void fw_cfg_close(void);
/* A file of at most so many bytes, for good; NULL, and why, when there is none. */
void *fw_cfg_fetch(const char *name, size_t most, size_t *bytes, char *why, size_t why_size);

#endif
