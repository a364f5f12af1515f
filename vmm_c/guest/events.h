// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_EVENTS_H
#define KTSTR_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What the agent waits for, besides time: ended children and descriptors that become readable. */

typedef void (*events_ready)(int fd);
/* Called for each ended child, any number of handlers; true when the child was theirs. */
typedef bool (*events_child)(pid_t pid, int status);

bool events_init(void);
void events_on_child(events_child handler);
void events_add(int fd, events_ready ready);
void events_remove(int fd);

/*
 * Sleep until something happened and was handled (true), or until this CLOCK_MONOTONIC time or the
 * run's deadline is reached (false). Callers loop, testing what they wait for and run_aborting().
 */
bool events_wait(uint64_t until_ns);
/* Handle what has already happened, without sleeping. */
void events_poll(void);

#endif
