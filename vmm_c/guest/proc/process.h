// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PROCESS_H
#define KTSTR_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "watch/keeplog.h"
#include "wire/program.h"

/* A program that was started from the image, with what it writes. Never moved or freed: a child may still come. */
struct process {
	pid_t pid; /* 0 before it was started */
	bool ended;
	int status; /* of waitpid */
	int log_fd; /* -1 once it is closed */
	struct keeplog log; /* standard output and error */
	void (*on_end)(struct process *process); /* may be NULL */
	struct process *next;
};

struct process_spec {
	const char *const *argv; /* ends with NULL */
	const char *const *environment;
	const char *folder; /* to start in, or NULL */
	int cgroup_fd; /* -1: the agent's */
	const struct ktstr_cpumask *affinity; /* or NULL */
};

/* NULL without memory. */
struct process *process_new(void);
/* Start it, in a process group of its own. Gives 0 once exec succeeded, else its errno; ECANCELED: the run ended. */
int process_start(struct process *process, const struct process_spec *spec);
/*
 * In a child: become the program, in a process group of its own. What is inherited from PID 1 is undone:
 * descriptors, signals, standard input. Output goes to one descriptor; to the other, why it cannot be.
 */
__attribute__((noreturn)) void process_exec(const struct process_spec *spec, int output, int error_fd);
/* Signal it and all of its group. */
void process_signal(struct process *process, int signal);
/* Until it has ended, but no longer than this time, nor into the deadline. Gives whether it has. */
bool process_await(struct process *process, uint64_t until_ns);
/* Read what it has written, at most what its pipe can hold. */
void process_drain(struct process *process);
/* Read no more of what it, or a child that it left behind, writes. */
void process_close_log(struct process *process);
/* Its arguments, from the program. argv has KTSTR_MAX_ARGS + 1 places. */
void process_argv(const struct program *program, uint32_t payload, const char **argv);

#endif
