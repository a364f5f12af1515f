// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_THREADS_H
#define KTSTR_THREADS_H

#include <stdbool.h>

#include "worker/registry.h"

/* Workers that are threads of one process. */

/* Begin to notice the ends of such workers. ready_fd: an eventfd that they write to. False with errno. */
bool threads_setup(int ready_fd);
/*
 * Begin the threads of a work, each blocked before its memory policy, and give them their tids. In the process of a
 * work that was spawned before under the same name, while none of that is released; else in a new one. Reports its
 * errors.
 */
bool threads_spawn(const struct ktstr_work *work, uint32_t work_id, struct made made);
/* It has its policy and CPUs: let it go to its gate. */
void threads_placed(struct worker *worker);
/* Its process is complete. */
void threads_released(const struct worker *worker);
/* Whether it was the last thread of a process that has not ended yet. */
bool threads_linger(const struct worker *worker);
/* As kill(2); SIGKILL ends all threads of the process. */
void threads_signal(const struct worker *worker, int signal);
/* The process, and how many threads of it there are. */
pid_t threads_process(const struct worker *worker, uint32_t *living);

#endif
