// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "measure/pages.h"
#include "work/live.h"

static _Thread_local struct self self;

static void on_stop(int signal)
{
	(void)signal;
	if (!self.armed)
		return; /* the flag is set, and is tested before anything blocks */
	self.armed = 0;
	siglongjmp(self.escape, 1);
}

static void set_signals(void)
{
	struct sigaction stop = { .sa_handler = on_stop, .sa_flags = SA_NODEFER };
	sigset_t none;

	sigaction(WORK_STOP_SIGNAL, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Before it touches the memory that it works in. */
static bool settle(struct slot *slot)
{
	uint64_t *nodes = slot->mem_nodes ? &slot->mem_nodes : NULL;

	if (slot->own_namespace && unshare(CLONE_NEWCGROUP) < 0)
		return work_refuse(slot, REFUSED_NAMESPACE);
	/* The kernel takes one less than the number of bits that it is told (get_nodes of mm/mempolicy.c). */
	if (slot->mem_mode && syscall(SYS_set_mempolicy, slot->mem_mode, nodes, nodes ? KTSTR_MAX_NODES + 1 : 0) < 0)
		return work_refuse(slot, REFUSED_MEM_POLICY);
	return true;
}

static void close_ends_of_the_partner(struct slot *slot)
{
	if (slot->partner_read_fd < 0)
		return;
	close(slot->partner_read_fd);
	close(slot->partner_write_fd);
}

extern const char __executable_start, etext; /* the linker's */

static void populate(const void *from, const void *to, int advice)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)from & ~(page - 1);

	madvise((void *)first, ((uintptr_t)to - first + page - 1) & ~(page - 1), advice);
}

/* No page fault later: what the loop runs and touches is there, and its own. Before 5.14 faults do it. */
static void make_present(struct slot *slot)
{
	char stack[16384];

	populate(&__executable_start, &etext, MADV_POPULATE_READ);
	populate(slot->shared, (const char *)slot->shared + slot->shared_bytes, MADV_POPULATE_WRITE);
	populate(slot, slot->requests.samples + slot->requests.capacity, MADV_POPULATE_WRITE);
	populate(stack, stack + sizeof(stack), MADV_POPULATE_WRITE);
}

static void sleep_until(uint64_t until_ns)
{
	struct timespec until = timespec_of(until_ns);

	if (sigsetjmp(self.escape, 0))
		return;
	self.armed = 1;
	if (!stopped(&self))
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	self.armed = 0;
}

/* False: it was stopped before its work was due. One that was due and not run until its stop measures just that. */
static bool wait_for_start(struct slot *slot)
{
	uint32_t gate;

	while ((gate = atomic_load(&slot->gate)) == GATE_CLOSED)
		syscall(SYS_futex, &slot->gate, FUTEX_WAIT, GATE_CLOSED, NULL, NULL, 0);
	if (gate != GATE_OPEN)
		return false;
	if (slot->start_offset_ns)
		sleep_until(slot->release_ns + slot->start_offset_ns);
	return now_ns() >= slot->release_ns + slot->start_offset_ns;
}

static void work(const struct work_ops *ops)
{
	struct slot *slot = self.slot;

	measure_begin(&self.measure, slot->release_ns + slot->start_offset_ns);
	if (!ops->begin || ops->begin(&self))
		while (!stopped(&self) && ops->iterate(&self))
			measure_iteration(slot);
	if (ops->finish)
		ops->finish(&self);
	measure_end(&self.measure);
	if (slot->pages)
		slot->page_nodes = pages_of_self(slot->pages);
}

bool work_live(struct slot *slot, int ready_fd)
{
	const struct work_ops *ops = work_type(slot->type)->ops;
	const uint64_t one = 1;

	self.slot = slot;
	set_signals();
	prctl(PR_SET_NAME, slot->name);
	prctl(PR_SET_TIMERSLACK, 1L); /* ns: a late wakeup is the scheduler's then, or the machine's */
	close_ends_of_the_partner(slot);
	if (!settle(slot) || (ops->prepare && !ops->prepare(&self)))
		return false;
	make_present(slot);
	measure_prepare(&self.measure, slot);
	atomic_store(&slot->ready, 1);
	if (write(ready_fd, &one, sizeof(one)) != sizeof(one))
		return false;
	if (wait_for_start(slot))
		work(ops);
	else
		slot->report.completed = 1;
	return true;
}

void work_main(struct slot *slot, int ready_fd)
{
	_exit(work_live(slot, ready_fd) ? 0 : 1);
}
