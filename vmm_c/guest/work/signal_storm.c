// SPDX-License-Identifier: GPL-2.0-only
/* params: spins before each signal. One that is sent while another is pending is none: the kernel keeps one. */
#include <sys/syscall.h>
#include <unistd.h>

#include "work/work.h"

enum counts_at { SENT, HANDLED };

#define STORM_SIGNAL SIGUSR2

struct shared {
	_Atomic int32_t tids[2]; /* 0: it has not begun, or is over */
};

static _Thread_local struct self *interrupted;

static void on_signal(int signal)
{
	(void)signal;
	if (interrupted)
		tally(interrupted, HANDLED, 1);
}

static bool prepare(struct self *self)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	interrupted = self;
	return sigaction(STORM_SIGNAL, &action, NULL) == 0;
}

static bool begin(struct self *self)
{
	struct shared *shared = self->slot->shared;

	atomic_store(&shared->tids[self->slot->place], gettid());
	return true;
}

static bool iterate(struct self *self)
{
	struct shared *shared = self->slot->shared;
	int32_t partner;

	spin(self, self->slot->params[0]);
	if (stopped(self))
		return true;
	partner = atomic_load(&shared->tids[1 - self->slot->place]);
	if (partner)
		tally(self, SENT, syscall(SYS_tkill, partner, STORM_SIGNAL) == 0);
	return true;
}

static void finish(struct self *self)
{
	struct shared *shared = self->slot->shared;

	atomic_store(&shared->tids[self->slot->place], 0);
	interrupted = NULL;
}

const struct work_ops work_signal_storm = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
