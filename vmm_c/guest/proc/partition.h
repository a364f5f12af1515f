// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PARTITION_H
#define KTSTR_PARTITION_H

#include <stdbool.h>

#include "wire/program.h"

/*
 * Make a cgroup the root of a partition, as the word in its cpuset.cpus.partition says, or no longer one, and read
 * back that it is. Reports its errors.
 */
bool partition_set(const char *dir, const char *word, const struct ktstr_cpumask *cpus);

#endif
