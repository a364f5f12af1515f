// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_INTAKE_H
#define KTSTR_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/program.h"

/* What is to be done before the program is had, from the initramfs: false when there is nothing, or it is bad. */
bool intake_setup(struct program *ret);
/*
 * The program, and the time its deadline counts from, which is changed unless it comes from the initramfs: where the
 * kernel's command line says so, the machine is parked, or waits for a delivery. False when there is none; errors
 * are reported.
 */
bool intake_program(struct program *ret, uint64_t *started);

#endif
