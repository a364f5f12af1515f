// SPDX-License-Identifier: GPL-2.0-only
/*
 * params: workers of a chain, spins of each hop, 1: through pipes. A token goes round: the last of a chain wakes the
 * first.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "work/borrow.h"

enum params_at { DEPTH, WORK_PER_HOP, PIPES };
enum counts_at { HOPS, WOKE, SLEPT, SWITCHES };

/* Of each worker, at its place in the group's memory. */
struct link {
	_Alignas(64) _Atomic uint32_t tokens; /* futex: how many it was given */
	struct lent pipe;
	_Atomic uint64_t sent_ns;
};

static _Thread_local int read_fd, write_fd;

static struct link *link_at(const struct self *self, uint32_t place)
{
	return (struct link *)self->slot->shared + place % self->slot->group;
}

static bool prepare(struct self *self)
{
	int fds[2];

	if (!self->slot->params[PIPES])
		return true;
	if (pipe(fds) < 0)
		return work_refuse(self->slot, REFUSED_PIPES);
	read_fd = fds[0];
	lend(&link_at(self, self->slot->place)->pipe, fds[1]);
	return true;
}

static bool begin(struct self *self)
{
	if (self->slot->params[PIPES])
		write_fd = borrow(self, &link_at(self, self->slot->place + 1)->pipe);
	return switches_begin(self) && write_fd >= 0;
}

static bool await_byte(struct self *self, struct link *own)
{
	char byte;
	const long args[6] = { read_fd, (long)&byte, 1 };

	if (block_call(self, SYS_read, args) != 1)
		return false;
	woken(self, atomic_load(&own->sent_ns));
	return true;
}

/* The first of them begins with it. False: it was stopped, or a pipe does not work. */
static bool await_token(struct self *self)
{
	struct link *own = link_at(self, self->slot->place);
	uint64_t had = atomic_load_explicit(&self->slot->iterations, memory_order_relaxed);
	long slept;

	if (self->slot->place == 0 && had-- == 0)
		return true;
	if (self->slot->params[PIPES])
		return await_byte(self, own);
	slept = block_while(self, &own->tokens, (uint32_t)had, &own->sent_ns);
	tally(self, SLEPT, slept == 1);
	return slept != BLOCK_STOPPED;
}

static bool pass_token(struct self *self)
{
	struct link *next = link_at(self, self->slot->place + 1);
	char byte = 'x';

	atomic_store(&next->sent_ns, now_ns());
	tally(self, HOPS, 1);
	if (self->slot->params[PIPES])
		return write(write_fd, &byte, 1) == 1;
	atomic_fetch_add(&next->tokens, 1);
	tally(self, WOKE, wake(&next->tokens, 1));
	return true;
}

static bool iterate(struct self *self)
{
	if (!await_token(self))
		return false;
	spin(self, self->slot->params[WORK_PER_HOP]);
	return !stopped(self) && pass_token(self);
}

static void finish(struct self *self)
{
	tally(self, SWITCHES, switches_since(self));
}

const struct work_ops work_wake_chain = { .prepare = prepare, .begin = begin, .iterate = iterate, .finish = finish };
