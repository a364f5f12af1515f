// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CPULIST_H
#define KTSTR_CPULIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

bool cpumask_test(const struct ktstr_cpumask *mask, uint32_t cpu);
/* CPUs of KTSTR_MAX_CPUS and above are ignored. */
void cpumask_set(struct ktstr_cpumask *mask, uint32_t cpu);
bool cpumask_empty(const struct ktstr_cpumask *mask);
bool cpumask_equal(const struct ktstr_cpumask *a, const struct ktstr_cpumask *b);
uint32_t cpumask_count(const struct ktstr_cpumask *mask);

/*
 * Read the kernel's list format ("0-3,8"; a trailing newline and an empty list are fine).
 * Returns 0, or -EINVAL for anything else, a range that runs backwards or a CPU out of bounds.
 */
int cpulist_parse(const char *text, struct ktstr_cpumask *ret);

/* Longest list of KTSTR_MAX_CPUS CPUs, NUL included: every other CPU, 3 digits and a comma. */
#define CPULIST_BYTES 1280
/* Write the same format, always terminated; returns the length, or 0 when it does not fit. */
size_t cpulist_format(const struct ktstr_cpumask *mask, char *ret, size_t size);

#endif
