/* SPDX-License-Identifier: GPL-2.0-only */
/* The command: run it in the lab's root and pass its output on. */
#ifndef KTSTR_LAB_COMMAND_H
#define KTSTR_LAB_COMMAND_H

#include "request.h"

/* Its wait status, once it has ended and all it wrote until then is in `out`. */
int command_run(const struct request *request, int out);

#endif
