// SPDX-License-Identifier: GPL-2.0-only
/*
 * What blocks, and how the stop signal ends it. A signal that comes between the last test of the
 * flag and the call would be lost to the call; so its handler leaves by a jump while one is armed.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/resource.h>
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

/* Nobody can say when a wait is due: one that is open at the end is no wakeup that did not come. */
#define NEVER_DUE UINT64_MAX

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
	return block(self, NEVER_DUE, number, args);
}

long block_while(struct self *self, _Atomic uint32_t *word, uint32_t value, const _Atomic uint64_t *sent_ns)
{
	const long args[6] = { (long)word, FUTEX_WAIT, (long)value, 0 };
	long waited = -EAGAIN;

	while (atomic_load(word) == value) {
		waited = block(self, NEVER_DUE, SYS_futex, args);
		if (waited != BLOCK_STOPPED)
			continue;
		if (sent_ns && atomic_load(word) != value && atomic_load(sent_ns) >= self->blocked_from_ns)
			self->slot->blocked_ns = atomic_load(sent_ns); /* it was woken, and did not get to run */
		return BLOCK_STOPPED;
	}
	if (waited == 0 && sent_ns)
		woken(self, atomic_load(sent_ns));
	return waited == 0;
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

uint32_t wake(_Atomic uint32_t *word, uint32_t most)
{
	long woke = syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0);

	return woke > 0 ? (uint32_t)woke : 0;
}

static uint64_t switches(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) == 0 ? (uint64_t)usage.ru_nvcsw : 0;
}

bool switches_begin(struct self *self)
{
	self->switches_before = switches();
	return true;
}

uint64_t switches_since(const struct self *self)
{
	return switches() - self->switches_before;
}
