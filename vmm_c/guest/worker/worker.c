// SPDX-License-Identifier: GPL-2.0-only
/* Spawning, releasing and stopping workers: each a process, so that it can have its own cgroup, or a thread. */
#include "worker/worker.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/events.h"
#include "base/run.h"
#include "measure/pages.h"
#include "proc/cgroup.h"
#include "wire/channel.h"
#include "wire/errors.h"
#include "work/work.h"
#include "worker/frozen.h"
#include "worker/place.h"
#include "worker/registry.h"
#include "worker/report.h"
#include "worker/threads.h"

#define KILL_WAIT_NS UINT64_C(2000000000)
/* After the deadline only what the workers have at once is worth waiting for. */
#define LATE_STOP_NS UINT64_C(200000000)

static int ready_fd = -1;

static void on_ready(int fd, void *context)
{
	uint64_t more;

	(void)context;
	while (read(fd, &more, sizeof(more)) == sizeof(more))
		;
}

bool worker_setup(const struct program *program)
{
	sigset_t stop;

	/* Children inherit the mask: until a worker has its handler, the stop signal waits. */
	sigemptyset(&stop);
	sigaddset(&stop, WORK_STOP_SIGNAL);
	if (sigprocmask(SIG_BLOCK, &stop, NULL) < 0)
		return false;
	ready_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return registry_make(program) && threads_setup(ready_fd) && events_add(ready_fd, on_ready, NULL);
}

static bool is_living(const struct worker *worker)
{
	return worker->pid || threads_linger(worker);
}

static bool is_unreported(const struct worker *worker)
{
	return worker->spawned && !worker->reported;
}

/* How and where its task is to run. */
static bool place(const struct worker *worker)
{
	const struct ktstr_work *work = worker->work;
	const struct ktstr_cpumask *own = registry_mask(worker->affinity ? worker->affinity : work->affinity);

	return place_policy(work, worker->pid, worker->id) &&
	       place_mask(own, own ? own : cgroup_cpus(work->cgroup), worker->pid, worker->id);
}

static bool spawn_one(struct worker *worker)
{
	const struct ktstr_work *work = worker->work;
	pid_t pid = cgroup_fork(cgroup_fd(work->cgroup));

	if (pid == 0)
		work_main(worker->slot, ready_fd);
	if (pid < 0) {
		run_error("worker %u: cannot fork into cgroup %s: %s%s", worker->id, cgroup_name(work->cgroup),
			  strerror(errno),
			  errno == EOPNOTSUPP ? CGROUP_NOT_INNERMOST : "");
		return false;
	}
	worker->slot->report.tid = pid;
	worker->pid = pid;
	return place(worker);
}

static void spawn_threads(uint32_t work, struct made made)
{
	const struct ktstr_work *declared = registry_work(work);

	bool good = threads_spawn(declared, work, made);

	/* One that cannot be placed comes to its gate too: who waits for it there would wait for ever. */
	for (uint32_t i = 0; i < declared->worker_count; i++) {
		struct worker *worker = registry_worker(declared->first_worker + i);

		good = good && (!worker->pid || place(worker));
		threads_placed(worker);
	}
}

static bool spawn_group(uint32_t work, uint32_t first, struct made made)
{
	uint32_t count = work_group(registry_work(work));
	struct worker *group = registry_worker(first);
	int fds[4] = { -1, -1, -1, -1 };
	bool good = true;

	for (uint32_t i = 0; i < count; i++)
		registry_prepare(&group[i], work, made);
	if (registry_type(work)->flags & WORK_PIPES && !place_pipes(group[0].slot, group[1].slot, fds)) {
		run_error("worker %u: cannot make its pipes: %s", first, strerror(errno));
		return false;
	}
	for (uint32_t i = 0; i < count && good; i++)
		good = spawn_one(&group[i]);
	for (int i = 0; i < 4; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return good;
}

/* Of its last spawn, which a selector that the verifier cannot follow may have left. */
static bool is_left(const struct ktstr_work *work)
{
	for (uint32_t i = 0; i < work->worker_count; i++) {
		const struct worker *worker = registry_worker(work->first_worker + i);

		if (is_living(worker) || is_unreported(worker))
			return true;
	}
	return false;
}

void worker_spawn(uint32_t work, struct made made)
{
	const struct ktstr_work *declared = registry_work(work);
	uint32_t end = declared->first_worker + declared->worker_count;

	if (is_left(declared)) {
		run_error("work %u: not all its workers have ended", work);
		return;
	}
	if (declared->cgroup >= 0 && cgroup_fd(declared->cgroup) < 0) {
		run_error("work %u: its cgroup %s is not there", work, cgroup_name(declared->cgroup));
		return;
	}
	if (declared->flags & KTSTR_WORK_THREADS) {
		spawn_threads(work, made);
		return;
	}
	for (uint32_t first = declared->first_worker; first < end && !run_check_deadline();
	     first += work_group(declared))
		if (!spawn_group(work, first, made))
			return;
}

static void open_gate(struct worker *worker, enum gate gate)
{
	threads_released(worker);
	atomic_store(&worker->slot->gate, gate);
	syscall(SYS_futex, &worker->slot->gate, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* How many pages the machine has moved between nodes, if any of these workers tells where its memory is. */
static uint64_t migrated_for(struct worker **chosen, uint32_t count)
{
	uint64_t migrated;

	for (uint32_t i = 0; i < count; i++)
		if (chosen[i]->work->flags & KTSTR_WORK_PAGES)
			return pages_migrated(&migrated) ? migrated : KTSTR_UNKNOWN_MIGRATED;
	return KTSTR_UNKNOWN_MIGRATED;
}

static bool is_blocked(const struct worker *worker)
{
	return worker->pid && atomic_load(&worker->slot->gate) == GATE_CLOSED;
}

void worker_release(const struct choice *choice)
{
	struct worker **chosen;
	uint32_t count = registry_choose(choice, is_blocked, &chosen);
	uint64_t migrated;

	if (!count)
		run_error("no worker that is chosen waits for its release");
	/* One that died before its gate will never be ready; its report says so. */
	for (uint32_t i = 0; i < count; i++)
		while (is_blocked(chosen[i]) && !atomic_load(&chosen[i]->slot->ready) && !run_aborting())
			events_wait(UINT64_MAX);
	channel_flush(); /* now, not when it costs the workers time */
	migrated = migrated_for(chosen, count);
	for (uint32_t i = 0; i < count && !run_aborting(); i++) {
		chosen[i]->migrated = migrated;
		chosen[i]->slot->release_ns = now_ns();
		open_gate(chosen[i], GATE_OPEN);
	}
	free(chosen);
}

static bool is_there(const struct worker *worker)
{
	return worker->pid != 0;
}

/* What is moved with a worker: its process, which has to be moved as a whole; 0 when it is not. */
static pid_t process_of(const struct worker *worker, struct worker **chosen, uint32_t count)
{
	uint32_t living, found = 0;
	pid_t pid;

	if (!worker->group)
		return worker->pid;
	pid = threads_process(worker, &living);
	for (uint32_t i = 0; i < count; i++)
		found += chosen[i]->group == worker->group;
	if (found == living)
		return pid;
	run_error("worker %u: is a thread of a process of %u workers, of which %u are to be moved: a cgroup holds "
		  "whole processes", worker->id, living, found);
	return 0;
}

/* Its process was moved, or could not be, with a thread before it. */
static bool is_done(struct worker **chosen, uint32_t at)
{
	for (uint32_t i = 0; i < at && chosen[at]->group; i++)
		if (chosen[i]->group == chosen[at]->group)
			return true;
	return false;
}

static void move_process(struct worker **chosen, uint32_t count, uint32_t at, int32_t cgroup)
{
	struct worker *worker = chosen[at];
	pid_t pid = process_of(worker, chosen, count);
	int error;

	for (uint32_t i = at; i < count && pid; i++)
		if (i == at || (worker->group && chosen[i]->group == worker->group))
			frozen_leave(chosen[i]);
	error = pid ? cgroup_move(cgroup, pid) : 0;
	if (error)
		run_error("worker %u: cannot move into cgroup %s: %s", worker->id, cgroup_name(cgroup), strerror(-error));
	if (!pid || error)
		return;
	worker->cgroup = cgroup;
	threads_released(worker);
	for (uint32_t i = at; i < count && worker->group; i++)
		if (chosen[i]->group == worker->group)
			chosen[i]->cgroup = cgroup;
}

void worker_move(const struct choice *choice, uint32_t cgroup)
{
	struct worker **chosen;
	uint32_t count = registry_choose(choice, is_there, &chosen);

	for (uint32_t i = 0; i < count; i++)
		if (!is_done(chosen, i))
			move_process(chosen, count, i, (int32_t)cgroup);
	free(chosen);
}

void worker_set_affinity(const struct choice *choice, const struct ktstr_cpumask *cpus)
{
	struct worker **chosen;
	uint32_t count = registry_choose(choice, is_there, &chosen);

	for (uint32_t i = 0; i < count; i++)
		place_mask(cpus, cpus, chosen[i]->pid, chosen[i]->id);
	free(chosen);
}

static void signal_living(struct worker **chosen, uint32_t count, int signal)
{
	for (uint32_t i = 0; i < count; i++)
		if (is_living(chosen[i]) && chosen[i]->group)
			threads_signal(chosen[i], signal);
		else if (chosen[i]->pid)
			kill(chosen[i]->pid, signal);
}

static bool any_living(struct worker **chosen, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (is_living(chosen[i]))
			return true;
	return false;
}

static void wait_for_living(struct worker **chosen, uint32_t count, uint64_t until)
{
	bool deadline_before = run_status() == KTSTR_END_DEADLINE;

	while (any_living(chosen, count) && now_ns() < until) {
		events_wait(until);
		if (!deadline_before && run_status() == KTSTR_END_DEADLINE)
			return; /* it came while we waited: no more time for those that are left */
	}
}

static void stop_living(struct worker **chosen, uint32_t count, uint64_t timeout_ns)
{
	for (uint32_t i = 0; i < count; i++) {
		atomic_store(&chosen[i]->slot->stop, 1);
		if (is_blocked(chosen[i]))
			open_gate(chosen[i], GATE_STOPPED);
		threads_placed(chosen[i]); /* or it would not come to its gate */
		frozen_leave(chosen[i]);
	}
	for (uint32_t i = 0; i < count; i++)
		if (i == 0 || chosen[i]->cgroup != chosen[i - 1]->cgroup)
			cgroup_lift(chosen[i]->cgroup);
	signal_living(chosen, count, WORK_STOP_SIGNAL);
	wait_for_living(chosen, count, now_ns() + timeout_ns);
	for (uint32_t i = 0; i < count; i++) {
		if (!chosen[i]->pid)
			continue;
		chosen[i]->timed_out = true;
		measure_from_outside(chosen[i]->slot, chosen[i]->pid, chosen[i]->group != NULL);
	}
	if (run_status() == KTSTR_END_DEADLINE)
		return; /* what cannot run cannot die either, and the machine is about to end */
	signal_living(chosen, count, SIGKILL);
	wait_for_living(chosen, count, now_ns() + KILL_WAIT_NS);
}

void worker_stop(const struct choice *choice, uint64_t timeout_ns)
{
	struct worker **chosen;
	uint32_t count = registry_choose(choice, is_unreported, &chosen);
	uint64_t migrated;

	if (run_status() == KTSTR_END_DEADLINE && timeout_ns > LATE_STOP_NS)
		timeout_ns = LATE_STOP_NS;
	if (any_living(chosen, count))
		stop_living(chosen, count, timeout_ns);
	cgroup_put_back();
	migrated = migrated_for(chosen, count);
	for (uint32_t i = 0; i < count; i++)
		registry_end(chosen[i], migrated);
	free(chosen);
}
