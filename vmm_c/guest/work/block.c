// SPDX-License-Identifier: GPL-2.0-only
/*
 * What blocks, and how the stop signal ends it. A signal that comes between the last test of the
 * flag and the call would be lost to the call; so its handler leaves by a jump while one is armed.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work/work.h"

void spin(struct self *self, uint64_t units)
{
	struct slot *slot = self->slot;

	while (units) {
		uint64_t piece = units < PIECE_UNITS ? units : PIECE_UNITS;

		for (uint64_t i = 0; i < piece; i++) {
			slot->units++;
			__asm__ volatile("" : "+m"(slot->units));
		}
		units -= piece;
		if (!units)
			return; /* the end of the iteration looks */
		measure_look(slot);
		if (stopped(self))
			return;
	}
}

/* due_ns: from when on it is late, 0 for now. */
static long block(struct self *self, uint64_t due_ns, long number, const long args[6])
{
	long result;

	self->blocked_from_ns = measure_block(&self->measure, due_ns);
	if (sigsetjmp(self->escape, 0))
		return BLOCK_STOPPED;
	self->armed = 1;
	if (stopped(self)) {
		self->armed = 0;
		return BLOCK_STOPPED;
	}
	result = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
	self->armed = 0;
	if (result < 0)
		result = -errno;
	measure_unblock(&self->measure);
	return result;
}

long block_read(struct self *self, int fd, void *ret, size_t bytes)
{
	return block(self, 0, SYS_read, (long[6]){ fd, (long)ret, (long)bytes });
}

long block_futex(struct self *self, _Atomic uint32_t *word, uint32_t value)
{
	return block(self, 0, SYS_futex, (long[6]){ (long)word, FUTEX_WAIT, (long)value, 0 });
}

long block_wait(struct self *self, pid_t child)
{
	return block(self, 0, SYS_wait4, (long[6]){ child, 0, 0, 0 });
}

long block_call(struct self *self, long number, const long args[6])
{
	return block(self, 0, number, args);
}

long block_until(struct self *self, uint64_t until_ns)
{
	struct timespec until = timespec_of(until_ns);
	const long args[6] = { CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&until, 0 };
	long result = block(self, until_ns, SYS_clock_nanosleep, args);

	if (result == 0 && self->slot->looked_ns > until_ns)
		measure_wake(&self->measure, self->slot->looked_ns - until_ns);
	return result;
}

void woken(struct self *self, uint64_t sent_ns)
{
	uint64_t until_ns = self->slot->looked_ns;

	if (sent_ns >= self->blocked_from_ns && sent_ns <= until_ns)
		measure_wake(&self->measure, until_ns - sent_ns);
}
