// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: producers, consumers, events of a burst. Each producer has an eventfd, and every consumer waits for all of
 * them at once: an event wakes all, and one of them gets it. A producer's next burst comes when its last one was taken.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work/borrow.h"

#define MAX_PRODUCERS 64
#define MAX_EVENTS 64

enum params_at { PRODUCERS, CONSUMERS, EVENTS };
enum counts_at { SENT, TAKEN, EMPTY };

/* Of each producer, at its place in the group's memory. */
struct source {
	_Alignas(64) _Atomic uint32_t done; /* futex: bursts that were taken */
	_Atomic uint32_t left; /* events that nobody has taken */
	struct lent fd;
	_Atomic uint32_t taken; /* of all bursts */
	_Atomic uint64_t done_ns;
	_Atomic uint64_t sent_ns[MAX_EVENTS];
};

/* A producer's own is the first. */
static _Thread_local int fds[MAX_PRODUCERS], poll_fd;

static bool is_producer(const struct self *self)
{
	return self->slot->place < self->slot->params[PRODUCERS];
}

static struct source *source_at(const struct self *self, uint64_t place)
{
	return (struct source *)self->slot->shared + place;
}

static bool prepare(struct self *self)
{
	if (!is_producer(self)) {
		poll_fd = epoll_create1(EPOLL_CLOEXEC);
		return poll_fd >= 0 || work_refuse(self->slot, REFUSED_FILE);
	}
	fds[0] = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	if (fds[0] < 0)
		return work_refuse(self->slot, REFUSED_FILE);
	lend(&source_at(self, self->slot->place)->fd, fds[0]);
	return true;
}

static bool begin(struct self *self)
{
	for (uint64_t i = 0; !is_producer(self) && i < self->slot->params[PRODUCERS]; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u64 = i };

		fds[i] = borrow(self, &source_at(self, i)->fd);
		if (fds[i] < 0)
			return false;
		if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
			return work_refuse(self->slot, REFUSED_PARTNER);
	}
	return true;
}

static bool produce(struct self *self)
{
	struct source *source = source_at(self, self->slot->place);
	const uint64_t one = 1, events = self->slot->params[EVENTS];
	uint32_t bursts = (uint32_t)atomic_load_explicit(&self->slot->iterations, memory_order_relaxed);

	if (bursts && block_while(self, &source->done, bursts - 1, &source->done_ns) == BLOCK_STOPPED)
		return false;
	atomic_store(&source->left, (uint32_t)events);
	for (uint64_t i = 0; i < events; i++) {
		atomic_store(&source->sent_ns[i], now_ns());
		if (write(fds[0], &one, sizeof(one)) != sizeof(one))
			return false;
		self->slot->units++;
		tally(self, SENT, 1);
	}
	return true;
}

/* Gives when it was sent, 0 when another consumer has it. */
static uint64_t take(struct self *self, uint64_t producer)
{
	struct source *source = source_at(self, producer);
	uint64_t one, sent_ns;
	uint32_t nth;

	if (read(fds[producer], &one, sizeof(one)) != sizeof(one)) {
		tally(self, EMPTY, 1);
		return 0;
	}
	nth = atomic_fetch_add(&source->taken, 1) % self->slot->params[EVENTS];
	sent_ns = atomic_load(&source->sent_ns[nth]);
	self->slot->units++;
	tally(self, TAKEN, 1);
	if (atomic_fetch_sub(&source->left, 1) == 1) {
		atomic_store(&source->done_ns, now_ns());
		atomic_fetch_add(&source->done, 1);
		wake(&source->done, 1);
	}
	return sent_ns;
}

static bool consume(struct self *self)
{
	struct epoll_event events[MAX_PRODUCERS];
	const long args[6] = { poll_fd, (long)events, MAX_PRODUCERS, -1 };
	long count = block_call(self, SYS_epoll_wait, args);
	uint64_t first_ns = UINT64_MAX;

	if (count < 0)
		return false;
	for (long i = 0; i < count; i++) {
		uint64_t sent_ns = take(self, events[i].data.u64);

		if (sent_ns && sent_ns < first_ns)
			first_ns = sent_ns;
	}
	if (first_ns != UINT64_MAX)
		woken(self, first_ns);
	return true;
}

static bool iterate(struct self *self)
{
	return is_producer(self) ? produce(self) : consume(self);
}

const struct work_ops work_epoll_storm = { .prepare = prepare, .begin = begin, .iterate = iterate };
