// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CGROUPS_H
#define KTSTR_CGROUPS_H

#include "work/work.h"

/*
 * Cgroups that a worker makes below its own: threaded ones, so that its own may have workers and a cpu controller for
 * those below at once, and threads may be moved one by one (Documentation/admin-guide/cgroup-v2.rst, Threads). What
 * limits its own limits them too, and they go with it.
 */
#define CGROUPS_PATH_BYTES 1024

/* The directory of the caller's cgroup. False with errno: it has none of the program's. */
bool cgroups_own(const struct self *self, char ret[CGROUPS_PATH_BYTES]);
/* A descriptor of the file that threads are moved by: of a new cgroup below its own, of its own. -1 with errno. */
int cgroups_make(const char *own, const char *name);
int cgroups_threads_of(const char *own);
void cgroups_remove(const char *own, const char *name);
/* Whether the caller's cgroup has that name below its own. */
bool cgroups_in(const char *name);
/* Move a thread; 0: the caller. Gives what block_call does. */
long cgroups_move(struct self *self, int threads_fd, int32_t tid);
/* CPU time that the kernel charged to it. */
uint64_t cgroups_cpu_ns(const char *own, const char *name);

#endif
