// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_WORKS_H
#define KTSTR_WORKS_H

#include "ops/header.h"

/* Check the works and their workers. */
bool works_check(const struct program *program, struct why *why);

#endif
