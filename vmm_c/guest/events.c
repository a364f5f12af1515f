// SPDX-License-Identifier: GPL-2.0-only
#include "events.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

#define MAX_SOURCES 8
#define MAX_CHILD_HANDLERS 4

static struct pollfd fds[MAX_SOURCES];
static events_ready handlers[MAX_SOURCES];
static size_t sources;
static events_child child_handlers[MAX_CHILD_HANDLERS];
static size_t child_handler_count;

/* All of PID 1's children, those it inherited too: a dead worker's own children end up here. */
static void reap(int fd)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

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
	if (fd < 0)
		return false;
	events_add(fd, reap);
	return true;
}

void events_on_child(events_child handler)
{
	if (child_handler_count < MAX_CHILD_HANDLERS)
		child_handlers[child_handler_count++] = handler;
}

void events_add(int fd, events_ready ready)
{
	if (fd < 0 || sources == MAX_SOURCES)
		return;
	fds[sources] = (struct pollfd){ .fd = fd, .events = POLLIN };
	handlers[sources++] = ready;
}

void events_remove(int fd)
{
	for (size_t i = 0; i < sources; i++)
		if (fds[i].fd == fd) {
			sources--;
			fds[i] = fds[sources];
			handlers[i] = handlers[sources];
			return;
		}
}

static bool dispatch(const struct timespec *timeout)
{
	struct pollfd ready[MAX_SOURCES];
	events_ready call[MAX_SOURCES];
	size_t count = sources;

	/* On a copy: handlers add and remove sources. */
	for (size_t i = 0; i < count; i++) {
		ready[i] = fds[i];
		call[i] = handlers[i];
	}
	if (ppoll(ready, count, timeout, NULL) <= 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (ready[i].revents)
			call[i](ready[i].fd);
	return true;
}

bool events_wait(uint64_t until_ns)
{
	uint64_t deadline = run_status() == KTSTR_END_DEADLINE ? UINT64_MAX : run_deadline();
	uint64_t until = until_ns < deadline ? until_ns : deadline;
	uint64_t now = now_ns();
	uint64_t left = until > now ? until - now : 0;
	struct timespec timeout = { (time_t)(left / 1000000000), (long)(left % 1000000000) };
	bool happened = dispatch(&timeout);

	run_check_deadline();
	return happened;
}

void events_poll(void)
{
	static const struct timespec now = { 0, 0 };

	while (dispatch(&now))
		;
	run_check_deadline();
}
