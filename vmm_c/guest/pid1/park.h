// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PARK_H
#define KTSTR_PARK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Say Ready, then stop the machine: its watchdog fires while every CPU sleeps, and QEMU stops all of
 * them at that instruction. For this machine that is the end. A clone of it goes on in here, and comes
 * back. False, and why, where this kernel lets nobody do that.
 */
bool park(char *why, size_t why_size);

#endif
