// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PROCESS_H
#define KTSTR_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "watch/keeplog.h"
#include "wire/program.h"

/* What a program writes to one descriptor, or to both. */
struct output {
	int fd; /* -1 once it is closed */
	struct keeplog log;
};

/* A program that was started from the image, with what it writes. Never moved or freed: a child may still come. */
struct process {
	pid_t pid; /* 0 before it was started */
	bool ended;
	int status; /* of waitpid */
	struct output output; /* standard output, and standard error too unless that is kept apart */
	struct output errors;
	void (*on_end)(struct process *process); /* may be NULL */
	struct process *next;
};

struct process_spec {
	const char *const *argv; /* ends with NULL */
	const char *const *environment;
	const char *folder; /* to start in, or NULL */
	int cgroup_fd; /* -1: the agent's */
	const struct ktstr_cpumask *affinity; /* or NULL */
	bool errors_apart; /* keep standard error apart */
	uint32_t policy; /* enum ktstr_policy */
	int priority, nice;
};

/* What a child writes to. */
struct process_fds {
	int output, errors;
	int failure; /* why it cannot become the program */
};

/* NULL without memory. */
struct process *process_new(void);
/* Start it, in a process group of its own. Gives 0 once exec succeeded, else its errno; ECANCELED: the run ended. */
int process_start(struct process *process, const struct process_spec *spec);
/*
 * In a child: become the program, in a process group of its own. What is inherited from PID 1 is undone:
 * descriptors, signals, standard input.
 */
__attribute__((noreturn)) void process_exec(const struct process_spec *spec, const struct process_fds *fds);
/* Signal it and all of its group. */
void process_signal(struct process *process, int signal);
/* Until it has ended, but no longer than this time, nor into the deadline. Gives whether it has. */
bool process_await(struct process *process, uint64_t until_ns);
/* Read what it has written, at most what its pipes can hold. */
void process_drain(struct process *process);
/* Read no more of what it, or a child that it left behind, writes. */
void process_close_logs(struct process *process);
/* So many strings of the program that follow each other. */
void process_strings(const struct program *program, uint32_t first, uint32_t count, const char **ret);
/* Its arguments, from the program. argv has KTSTR_MAX_ARGS + 1 places. */
void process_argv(const struct program *program, uint32_t payload, const char **argv);

#endif
