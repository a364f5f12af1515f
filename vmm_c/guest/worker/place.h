// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PLACE_H
#define KTSTR_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

#include "measure/slot.h"

/* Two pipes for a pair: what one writes the other reads. fds gets all four, for the agent to close. */
bool place_pipes(struct slot *one, struct slot *other, int fds[4]);
/*
 * These report their errors. The policy of the deadline class is refused to a task that may not run on all CPUs of
 * its root domain.
 */
bool place_policy(const struct ktstr_work *work, pid_t pid, uint32_t worker);
/* Set the mask unless NULL, and read back that it is what is wanted. */
bool place_mask(const struct ktstr_cpumask *set, const struct ktstr_cpumask *want, pid_t pid, uint32_t worker);

#endif
