// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_LIMITS_H
#define KTSTR_LIMITS_H

#include <stdbool.h>

/*
 * What keeps the tasks of a cgroup from running, and so from ending: that it is frozen, or has used its share of CPU
 * time. Lift both; keep: remember what there was, for limits_put_back. A file that is not there limits nothing.
 */
void limits_lift(const char *dir, bool keep);
/* Reports its errors. */
void limits_put_back(void);
/*
 * After a cgroup was told to freeze: until it is frozen, or FREEZE_NS are over. Who is not let run does not freeze, and
 * that is told by other means.
 */
void limits_await_frozen(const char *dir);

#endif
