// SPDX-License-Identifier: GPL-2.0-only
/* A process whose threads are workers. Its first thread is none of them: it begins the others. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work/live.h"

#define STACK_BYTES (256 << 10)

static struct work_fds fds;

static void end(struct slot *slot)
{
	atomic_store(&slot->ended, 1);
	if (write(fds.ended, &slot->report.index, sizeof(slot->report.index)) != sizeof(slot->report.index))
		_exit(1);
}

static void *begin(void *context)
{
	struct slot *slot = context;
	const uint64_t one = 1;

	__atomic_store_n(&slot->report.tid, (int32_t)gettid(), __ATOMIC_RELEASE);
	if (write(fds.ready, &one, sizeof(one)) != sizeof(one))
		_exit(1);
	while (!atomic_load(&slot->placed))
		syscall(SYS_futex, &slot->placed, FUTEX_WAIT, 0, NULL, NULL, 0);
	work_live(slot, fds.ready);
	end(slot);
	return NULL;
}

/* One table of files is of all threads: nobody has an end of the partner's to close. */
static bool make_pipes(struct slot *one, struct slot *other)
{
	int there[2], back[2];

	if (pipe2(there, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		return work_refuse(one, REFUSED_PIPES);
	one->read_fd = there[0];
	other->write_fd = there[1];
	other->read_fd = back[0];
	one->write_fd = back[1];
	return true;
}

static bool start(const pthread_attr_t *attributes, const struct work_order *order)
{
	pthread_t thread;

	if (order->partner && !make_pipes(order->slot, order->partner))
		return false;
	errno = pthread_create(&thread, attributes, begin, order->slot);
	return errno == 0 || work_refuse(order->slot, REFUSED_THREAD);
}

void work_lead(const char *name, const struct work_fds *of)
{
	struct work_order order;
	pthread_attr_t attributes;

	fds = *of;
	prctl(PR_SET_NAME, name);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	while (read(fds.orders, &order, sizeof(order)) == sizeof(order) && order.slot)
		if (!start(&attributes, &order))
			end(order.slot);
	_exit(0);
}
