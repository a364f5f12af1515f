// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_FROZEN_H
#define KTSTR_FROZEN_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/registry.h"

/* For how long workers are kept frozen by the program, which is not what keeps them from running otherwise. */

/* A cgroup is made: it is not frozen, whatever one in its place was. */
void frozen_forget(uint32_t cgroup);
/* A cgroup, and whatever is in it, is frozen now. */
void frozen_begin(uint32_t cgroup);
/* It is about to be no longer. */
void frozen_end(uint32_t cgroup);
/* A worker is about to run on, whatever its cgroup does. */
void frozen_leave(struct worker *worker);

#endif
