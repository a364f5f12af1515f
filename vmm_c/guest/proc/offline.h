// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_OFFLINE_H
#define KTSTR_OFFLINE_H

#include "wire/program.h"

/*
 * CPUs that the program took offline. What the kernel then says of a cpuset or of an affinity lacks them; any other
 * that is missing was not asked for.
 */
/* A file was written: note what became of a CPU, when it is how one goes offline. */
void offline_note(const char *path);
struct ktstr_cpumask offline_without(const struct ktstr_cpumask *cpus);

#endif
