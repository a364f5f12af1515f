// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_TRACEE_H
#define KTSTR_TRACEE_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "proc/refusal.h"

/*
 * Follow a process that is about to become a loader, and all that it starts, to its end; every bpf(2)
 * goes into the refusal. A program that is refused without a log is loaded once more with one, in the
 * process itself, which notices nothing. Gives 0 with the status of waitpid, else an error number.
 * For a process of its own, which has no other children: it waits for whichever comes.
 */
int tracee_follow(pid_t pid, int go, struct refusal *refusal, int *status);

#endif
