// SPDX-License-Identifier: GPL-2.0-only
/* How fast each node's memory is for the CPUs of each node. */
#pragma once

#include <stdint.h>

#include "acpi_writer.h"
#include "memory.h"
#include "topology.h"

/* Put the HMAT; gives its address. */
uint64_t acpi_put_hmat(struct acpi_writer *w, const struct topology *topology, const struct memory *memory);
