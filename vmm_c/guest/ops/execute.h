// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_EXECUTE_H
#define KTSTR_EXECUTE_H

#include "wire/program.h"

/*
 * Run the program's ops in order. Once the run is aborting, only what takes things down is still
 * run. What is left at the end is taken down too, and waited for this long.
 */
void execute(const struct program *program, uint64_t stop_ns);
/* The same of what comes before the program: what it made stays, unless the run is over; no stimulus is told. */
void execute_setup(const struct program *program, uint64_t stop_ns);

#endif
