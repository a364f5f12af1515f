// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_LIVE_H
#define KTSTR_LIVE_H

#include "work/work.h"

/* A worker's life but for its exit. False: it never was ready, and its slot may say why. */
bool work_live(struct slot *slot, int ready_fd);

#endif
