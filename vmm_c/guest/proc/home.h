/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KTSTR_HOME_H
#define KTSTR_HOME_H

#include "proc/process.h"

/*
 * What the image has beside a scheduler's program: its environment and the folder that it starts in, those of
 * /sched, or of /sched/other/NAME for a program that lies below it. They hold until the next call.
 */
void home_find(struct process_spec *spec);

#endif
