// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_OPS_H
#define KTSTR_OPS_H

#include "program.h"

/*
 * Run the program's ops in order. Once the run is aborting, only the ops that take things down
 * are still run.
 */
void ops_run(const struct program *program);

#endif
