// SPDX-License-Identifier: GPL-2.0-only
#include "supervisor.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENT_END SUPERVISOR_MAX_WATCHES
#define EVENT_DEADLINE (SUPERVISOR_MAX_WATCHES + 1)
#define EVENTS_AT_ONCE 8

static int add(struct supervisor *supervisor, int fd, uint32_t events, uint32_t number, struct vmm_error *err)
{
	struct epoll_event event = { .events = events, .data.u32 = number };

	if (epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	return error_set(err, errno, "epoll_ctl: %s", strerror(errno));
}

int supervisor_init(struct supervisor *supervisor, struct vmm_error *err)
{
	int rc;

	*supervisor = (struct supervisor){
		.epoll = epoll_create1(EPOLL_CLOEXEC),
		.end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.deadline = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
	};
	if (supervisor->epoll < 0 || supervisor->end < 0 || supervisor->deadline < 0)
		return error_set(err, errno, "creating the supervisor's file descriptors: %s", strerror(errno));
	rc = add(supervisor, supervisor->end, EPOLLIN, EVENT_END, err);
	return rc ? rc : add(supervisor, supervisor->deadline, EPOLLIN, EVENT_DEADLINE, err);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void supervisor_deinit(struct supervisor *supervisor)
{
	close_fd(&supervisor->deadline);
	close_fd(&supervisor->end);
	close_fd(&supervisor->epoll);
}

static int watch(struct supervisor *supervisor, int fd, uint32_t events, struct watch watch, struct vmm_error *err)
{
	if (supervisor->count == SUPERVISOR_MAX_WATCHES)
		return error_set(err, ENOSPC, "a machine's supervisor watches at most %d fds", SUPERVISOR_MAX_WATCHES);
	supervisor->watches[supervisor->count] = watch;
	return add(supervisor, fd, events, supervisor->count++, err);
}

int supervisor_watch(struct supervisor *supervisor, int fd, void (*ready)(void *device), void *device,
		     struct vmm_error *err)
{
	return watch(supervisor, fd, EPOLLIN, (struct watch){ ready, device }, err);
}

int supervisor_watch_writable(struct supervisor *supervisor, int fd, void (*ready)(void *device), void *device,
			      struct vmm_error *err)
{
	int rc = watch(supervisor, fd, EPOLLOUT | EPOLLET, (struct watch){ ready, device }, err);

	return rc == -EPERM ? 0 : rc; /* epoll takes nothing that is always writable, as /dev/null is */
}

int supervisor_set_deadline(struct supervisor *supervisor, uint64_t ms, struct vmm_error *err)
{
	struct itimerspec when = { .it_value = { (time_t)(ms / 1000), (long)(ms % 1000 * 1000000) } };

	if (timerfd_settime(supervisor->deadline, 0, &when, NULL))
		return error_set(err, errno, "timerfd_settime to %llu ms: %s", (unsigned long long)ms, strerror(errno));
	return 0;
}

void supervisor_wake(struct supervisor *supervisor)
{
	eventfd_write(supervisor->end, 1);
}

static void serve(struct supervisor *supervisor, uint32_t number, const struct supervisor_ops *ops, void *machine)
{
	const struct watch *watch = &supervisor->watches[number];

	ops->lock_devices(machine);
	watch->ready(watch->device);
	ops->unlock_devices(machine);
}

void supervisor_loop(struct supervisor *supervisor, const struct supervisor_ops *ops, void *machine)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	struct vmm_error err;

	for (;;) {
		int n = epoll_wait(supervisor->epoll, events, EVENTS_AT_ONCE, -1);

		if (n < 0 && errno != EINTR) {
			error_set(&err, errno, "epoll_wait: %s", strerror(errno));
			ops->failed(machine, &err);
			return;
		}
		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 == EVENT_END)
				return;
			if (events[i].data.u32 == EVENT_DEADLINE)
				ops->deadline(machine); /* which wakes us for the end */
			else
				serve(supervisor, events[i].data.u32, ops, machine);
		}
	}
}
