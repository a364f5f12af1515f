// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_EVENTS_H
#define KTSTR_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Called when fd has something to read. */
typedef void (*events_ready)(int fd, void *context);
/* Called for each child that ended, one handler after the other until one returns true. */
typedef bool (*events_child)(pid_t pid, int status);

/* Blocks SIGCHLD for the calling process and watches for it. False when the kernel refuses. */
bool events_init(void);
/* False when there is no memory, or no descriptor to watch. */
bool events_add(int fd, events_ready ready, void *context);
void events_remove(int fd);
/* Do not look at fd until then: whoever always has something to say must not take all of our time. */
void events_pause(int fd, uint64_t until_ns);
/* At most EVENTS_CHILD_HANDLERS of them, for good. */
void events_on_child(events_child handler);
#define EVENTS_CHILD_HANDLERS 4

/*
 * Sleep until until_ns (CLOCK_MONOTONIC) or the run's deadline, or until something happened, which
 * is then handled. Returns whether something happened. Also notices the deadline. Callers loop,
 * testing what they wait for and run_aborting().
 */
bool events_wait(uint64_t until_ns);
/* Handle what has already happened, without sleeping. */
void events_poll(void);

#endif
