// SPDX-License-Identifier: GPL-2.0-only
#include "worker/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/events.h"
#include "base/run.h"
#include "proc/cgroup.h"
#include "wire/errors.h"

/* An order for each worker, and the end of each, must not block. */
#define PIPE_BYTES (256 << 10)
#define UNNAMED "workers"
/* Of waitpid, for a thread that was never ready: as if it had been a process. */
#define FAILED (1 << 8)
/* Of a slot that is marked as ended: we know. */
#define TOLD 2

struct thread_group {
	struct thread_group *next;
	pid_t pid;
	int orders;
	uint32_t living; /* threads that are workers */
	bool complete; /* no other work joins it */
	uint32_t name; /* of its work */
	int32_t cgroup;
	struct made made;
};

static struct thread_group *groups;
static int ready, ended[2];

static void send_order(struct thread_group *group, struct slot *slot, struct slot *partner)
{
	const struct work_order order = { slot, partner };

	/* One that was killed reads none: what became of it is told when it is reaped. */
	if (write(group->orders, &order, sizeof(order)) != sizeof(order) && errno != EPIPE)
		run_error("cannot tell process %d of its threads: %s", group->pid, strerror(errno));
}

static void on_thread_end(struct worker *worker)
{
	struct thread_group *group = worker->group;

	registry_gone(worker, worker->slot->report.completed ? 0 : FAILED);
	if (--group->living)
		return;
	group->complete = true;
	send_order(group, NULL, NULL);
}

static void on_ended(int fd, void *context)
{
	uint32_t id;

	(void)context;
	while (read(fd, &id, sizeof(id)) == sizeof(id)) {
		struct worker *worker = id < registry_workers() ? registry_worker(id) : NULL;

		/* It may have been killed since, and be spawned again. */
		if (worker && worker->group && atomic_compare_exchange_strong(&worker->slot->ended, &(uint32_t){ 1 }, TOLD))
			on_thread_end(worker);
	}
}

/* All its threads have ended. */
static void take(struct thread_group *group, int status)
{
	for (uint32_t id = 0; id < registry_workers(); id++) {
		struct worker *worker = registry_worker(id);

		if (worker->group != group)
			continue;
		worker->group = NULL;
		if (worker->pid)
			registry_gone(worker, status);
	}
}

static bool on_child(pid_t pid, int status)
{
	for (struct thread_group **at = &groups; *at; at = &(*at)->next) {
		struct thread_group *group = *at;

		if (group->pid != pid)
			continue;
		on_ended(ended[0], NULL); /* what ended before it */
		*at = group->next;
		take(group, status);
		close(group->orders);
		free(group);
		return true;
	}
	return false;
}

bool threads_setup(int ready_fd)
{
	ready = ready_fd;
	if (pipe2(ended, O_CLOEXEC) < 0)
		return false;
	fcntl(ended[0], F_SETFL, O_NONBLOCK);
	fcntl(ended[1], F_SETPIPE_SZ, PIPE_BYTES);
	events_on_child(on_child);
	return events_add(ended[0], on_ended, NULL);
}

static struct thread_group *joined(const struct ktstr_work *work, struct made made)
{
	for (struct thread_group *group = groups; group && work->pcomm; group = group->next)
		if (!group->complete && group->cgroup == work->cgroup && group->made.scope == made.scope &&
		    strcmp(registry_string(group->name - 1), registry_string(work->pcomm - 1)) == 0)
			return group;
	return NULL;
}

static struct thread_group *fork_group(const struct ktstr_work *work, struct made made)
{
	struct thread_group *group = calloc(1, sizeof(*group));
	int orders[2], error;

	if (!group || pipe2(orders, O_CLOEXEC) < 0) {
		free(group);
		return NULL;
	}
	fcntl(orders[1], F_SETPIPE_SZ, PIPE_BYTES);
	*group = (struct thread_group){ .next = groups, .orders = orders[1], .complete = !work->pcomm,
					.name = work->pcomm, .cgroup = work->cgroup, .made = made };
	group->pid = cgroup_fork(cgroup_fd(work->cgroup));
	if (group->pid == 0)
		work_lead(work->pcomm ? registry_string(work->pcomm - 1) : UNNAMED,
			  &(struct work_fds){ orders[0], ready, ended[1] });
	error = errno;
	close(orders[0]);
	if (group->pid > 0)
		return groups = group;
	close(orders[1]);
	free(group);
	errno = error;
	return NULL;
}

/* False: its process ended first, or the run did. */
static bool await_tid(struct worker *worker)
{
	int32_t tid;

	while (!(tid = __atomic_load_n(&worker->slot->report.tid, __ATOMIC_ACQUIRE)) && worker->group &&
	       atomic_load(&worker->slot->ended) != TOLD && !run_aborting())
		events_wait(UINT64_MAX);
	if (!worker->group && !run_aborting())
		run_error("worker %u: its process ended before its thread began", worker->id);
	if (!tid || !worker->group)
		return false;
	if (!atomic_load(&worker->slot->ended))
		worker->pid = tid;
	return true;
}

bool threads_spawn(const struct ktstr_work *work, uint32_t work_id, struct made made)
{
	const struct work_type *type = registry_type(work_id);
	struct thread_group *group = joined(work, made);
	struct worker *first = registry_worker(work->first_worker);

	if (!group && !(group = fork_group(work, made))) {
		run_error("work %u: cannot fork into cgroup %s: %s%s", work_id, cgroup_name(work->cgroup),
			  strerror(errno), errno == EOPNOTSUPP ? CGROUP_NOT_INNERMOST : "");
		return false;
	}
	for (uint32_t i = 0; i < work->worker_count; i++) {
		registry_prepare(&first[i], work_id, made);
		first[i].group = group;
		group->living++;
	}
	for (uint32_t i = 0; i < work->worker_count; i++)
		send_order(group, first[i].slot,
			   type->flags & WORK_PIPES && i % work_group(work) == 0 ? first[i + 1].slot : NULL);
	for (uint32_t i = 0; i < work->worker_count; i++)
		if (!await_tid(&first[i])) {
			if (first[i].group)
				kill(group->pid, SIGKILL);
			return false;
		}
	return true;
}

void threads_placed(struct worker *worker)
{
	if (!worker->group)
		return;
	atomic_store(&worker->slot->placed, 1);
	syscall(SYS_futex, &worker->slot->placed, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void threads_released(const struct worker *worker)
{
	if (worker->group)
		worker->group->complete = true;
}

bool threads_linger(const struct worker *worker)
{
	return worker->group && !worker->group->living;
}

void threads_signal(const struct worker *worker, int signal)
{
	if (signal == SIGKILL)
		kill(worker->group->pid, signal);
	else if (worker->pid)
		tgkill(worker->group->pid, worker->pid, signal);
}

pid_t threads_process(const struct worker *worker, uint32_t *living)
{
	*living = worker->group->living;
	return worker->group->pid;
}
