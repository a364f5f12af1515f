// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CGROUP_TREE_H
#define KTSTR_CGROUP_TREE_H

#include <stdbool.h>

/* No folder of a cgroup has a longer path. */
#define CGROUP_DIR_BYTES 640

/*
 * Kill whatever is in a cgroup, however frozen or throttled it is, and remove all cgroups below it; itself: and it.
 * Reports its errors.
 */
void cgroup_tree_remove(const char *dir, bool itself);

#endif
