// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CGROUP_H
#define KTSTR_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/made.h"
#include "wire/program.h"

/*
 * Make the cgroup that the kernel's command line names as the scheduler's parent, if it does: before that
 * starts. The scenario's are made in it then. Reports its errors.
 */
void cgroup_make_parent(void);
/* Make the scenario's own cgroup, with the controllers that the program asks for. Reports its errors. */
void cgroup_setup(const struct program *program);
/* Make a cgroup of the program. Reports its errors. */
void cgroup_add(uint32_t id, struct made made);
/* Write its cpuset, and read back that it has it. Reports its errors. */
bool cgroup_set_cpus(uint32_t id, const struct ktstr_cpumask *cpus);
/* Give it the CPUs of its parent. Reports its errors. */
void cgroup_clear_cpus(uint32_t id);
/*
 * Write a text, which has to stay, to a file of it. A partition is read back, and what is to freeze is waited for.
 * Reports its errors.
 */
bool cgroup_write(uint32_t id, const char *file, const char *text);
#define CGROUP_PATH_BYTES 704
/* Where a file of it is. */
void cgroup_file(uint32_t id, const char *file, char ret[CGROUP_PATH_BYTES]);
/* A descriptor to fork into, for clone3; -1 for the agent's own cgroup (-1), and for one that is not there. */
int cgroup_fd(int32_t id);
/* Its name, "the agent's" for -1. */
const char *cgroup_name(int32_t id);
/* What EOPNOTSUPP says of a fork into one. */
#define CGROUP_NOT_INNERMOST " (of nested cgroups, only the innermost may hold workers)"
/* Fork into a cgroup (a descriptor; -1: ours). As fork(2). */
pid_t cgroup_fork(int fd);
/* Move a process, all its threads. Gives 0 or -errno. */
int cgroup_move(int32_t id, int32_t pid);
/* The CPUs its tasks may use, or NULL where none were declared. */
const struct ktstr_cpumask *cgroup_cpus(int32_t id);
/* Let what is in it run, however frozen or throttled it is or a cgroup around it, until cgroup_put_back. */
void cgroup_lift(int32_t id);
void cgroup_put_back(void);
/* Where it was made; NULL when it is not there. */
const struct made *cgroup_made(uint32_t id);
/* Kill what is left in it and remove it, all below, and what was made only to hold it. Reports its errors. */
void cgroup_remove(uint32_t id);
/* The scenario's own cgroup too, but for a scheduler's parent. */
void cgroup_remove_all(void);

#endif
