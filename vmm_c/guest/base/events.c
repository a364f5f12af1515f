// SPDX-License-Identifier: GPL-2.0-only
#include "base/events.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/run.h"

struct source {
	int fd;
	uint64_t paused_until;
	events_ready ready;
	void *context;
};

static struct source *sources;
static struct pollfd *polled; /* as many as there is room for sources */
static size_t source_count, source_room;
static events_child child_handlers[EVENTS_CHILD_HANDLERS];
static size_t child_handler_count;

/* All of PID 1's children, those it inherited too: a dead worker's own children end up here. */
static void reap(int fd, void *context)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	(void)context;
	while (read(fd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < child_handler_count; i++)
			if (child_handlers[i](pid, status))
				break;
}

bool events_init(void)
{
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return false;
	fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd >= 0 && events_add(fd, reap, NULL);
}

void events_on_child(events_child handler)
{
	if (child_handler_count == EVENTS_CHILD_HANDLERS)
		abort(); /* of PID 1: the kernel panics, which nobody overlooks */
	child_handlers[child_handler_count++] = handler;
}

static bool make_room(void)
{
	size_t room = source_room ? 2 * source_room : 8;
	struct source *more;
	struct pollfd *more_polled;

	if (source_count < source_room)
		return true;
	more = realloc(sources, room * sizeof(*more));
	if (!more)
		return false;
	sources = more;
	more_polled = realloc(polled, room * sizeof(*more_polled));
	if (!more_polled)
		return false;
	polled = more_polled;
	source_room = room;
	return true;
}

bool events_add(int fd, events_ready ready, void *context)
{
	if (fd < 0 || !make_room())
		return false;
	sources[source_count++] = (struct source){ .fd = fd, .ready = ready, .context = context };
	return true;
}

static struct source *source_of(int fd)
{
	for (size_t i = 0; i < source_count; i++)
		if (sources[i].fd == fd)
			return &sources[i];
	return NULL;
}

void events_remove(int fd)
{
	struct source *source = source_of(fd);

	if (source)
		*source = sources[--source_count];
}

void events_pause(int fd, uint64_t until_ns)
{
	struct source *source = source_of(fd);

	if (source)
		source->paused_until = until_ns;
}

/* What to poll: all but the paused. Lowers until to when the first of those may go on. */
static size_t select_sources(uint64_t now, uint64_t *until)
{
	size_t count = 0;

	for (size_t i = 0; i < source_count; i++) {
		if (sources[i].paused_until <= now)
			polled[count++] = (struct pollfd){ .fd = sources[i].fd, .events = POLLIN };
		else if (sources[i].paused_until < *until)
			*until = sources[i].paused_until;
	}
	return count;
}

static bool dispatch(uint64_t until)
{
	uint64_t now = now_ns();
	size_t count = select_sources(now, &until);
	uint64_t left = until > now ? until - now : 0;
	struct timespec timeout = timespec_of(left);
	struct pollfd ready[count ? count : 1];
	int happened = ppoll(polled, count, &timeout, NULL);

	if (happened <= 0)
		return false;
	/* On a copy: handlers add and remove sources. */
	for (size_t i = 0; i < count; i++)
		ready[i] = polled[i];
	for (size_t i = 0; i < count; i++) {
		struct source *source = ready[i].revents ? source_of(ready[i].fd) : NULL;

		if (source)
			source->ready(source->fd, source->context);
	}
	return true;
}

bool events_wait(uint64_t until_ns)
{
	uint64_t deadline = run_status() == KTSTR_END_DEADLINE ? UINT64_MAX : run_deadline();
	bool happened = dispatch(until_ns < deadline ? until_ns : deadline);

	run_check_deadline();
	return happened;
}

void events_poll(void)
{
	dispatch(0); /* once: there are sources that always have more */
	run_check_deadline();
}
