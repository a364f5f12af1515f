// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_WORK_H
#define KTSTR_WORK_H

#include "arena.h"

/*
 * A worker's life, in its own process: tell ready_fd (an eventfd) that it waits, wait for the
 * gate, sleep its start offset, work until stop is set, leave its report in the arena, exit.
 */
__attribute__((noreturn)) void work_main(struct worker_arena *arena, int ready_fd);

/* The stop signal: it only interrupts what blocks, the flag in the arena is what ends the work. */
#define WORK_STOP_SIGNAL SIGUSR1

#endif
