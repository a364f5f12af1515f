// SPDX-License-Identifier: GPL-2.0-only
/* Spawning, releasing and stopping workers: each a process, so that it can have its own cgroup. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "cgroup.h"
#include "cpulist.h"
#include "events.h"
#include "measure.h"
#include "program.h"
#include "report.h"
#include "run.h"
#include "work.h"

#define KILL_WAIT_NS UINT64_C(2000000000)

struct worker {
	pid_t pid; /* 0 once it was reaped */
	int status;
	bool timed_out;
	struct worker_arena *arena;
};

static struct worker *workers;
static uint32_t worker_count, worker_total;
static uint32_t living, ready, reported;
static int ready_fd = -1;

static bool on_child(pid_t pid, int status)
{
	for (uint32_t i = 0; i < worker_count; i++)
		if (workers[i].pid == pid) {
			workers[i].pid = 0;
			workers[i].status = status;
			living--;
			return true;
		}
	return false;
}

static void on_ready(int fd)
{
	uint64_t more;

	if (read(fd, &more, sizeof(more)) == sizeof(more))
		ready += (uint32_t)more;
}

bool worker_setup(uint32_t total)
{
	worker_total = total;
	workers = calloc(total ? total : 1, sizeof(*workers));
	ready_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!workers || ready_fd < 0)
		return false;
	events_on_child(on_child);
	events_add(ready_fd, on_ready);
	return true;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Samples of one worker: the full reservoir, or its share when there are too many workers for it. */
static uint32_t sample_room(uint32_t work_type)
{
	switch (work_type) {
	case KTSTR_WORK_SPIN_WAIT:
	case KTSTR_WORK_YIELD_HEAVY:
	case KTSTR_WORK_MIXED:
		return 0; /* these never block */
	default:
		return smaller(KTSTR_MAX_SAMPLES_TOTAL / worker_total, KTSTR_MAX_SAMPLES);
	}
}

static struct worker_arena *make_arena(const struct ktstr_op_spawn *op, uint32_t index, uint32_t place)
{
	uint32_t room = sample_room(op->work_type);
	size_t bytes = sizeof(struct worker_arena) + room * sizeof(uint64_t);
	struct worker_arena *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (arena == MAP_FAILED)
		return NULL;
	arena->work_type = op->work_type;
	memcpy(arena->params, op->params, sizeof(arena->params));
	arena->start_offset_ns = op_spawn_offsets(op)[place];
	arena->place = place % work_group_size(op->work_type);
	arena->read_fd = arena->write_fd = -1;
	arena->migration_room = smaller(KTSTR_MAX_MIGRATIONS_TOTAL / worker_total, KTSTR_MAX_MIGRATIONS);
	reservoir_init(&arena->wakes, arena->samples, room, index);
	arena->report.index = index;
	arena->report.work_index = op->work_index;
	arena->report.cgroup = op->cgroup;
	return arena;
}

/* Into its cgroup from birth: moving it later would cost an RCU grace period each. */
static pid_t fork_into(int cgroup_fd)
{
	struct clone_args args = { .exit_signal = SIGCHLD };

	if (cgroup_fd >= 0) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static bool set_policy(const struct ktstr_op_spawn *op, pid_t pid, uint32_t index)
{
	static const int policies[] = {
		[KTSTR_POLICY_NORMAL] = SCHED_OTHER, [KTSTR_POLICY_BATCH] = SCHED_BATCH,
		[KTSTR_POLICY_IDLE] = SCHED_IDLE,    [KTSTR_POLICY_FIFO] = SCHED_FIFO,
		[KTSTR_POLICY_RR] = SCHED_RR,
	};
	struct sched_param param = { .sched_priority = op->priority };

	if (op->policy != KTSTR_POLICY_NORMAL && sched_setscheduler(pid, policies[op->policy], &param) < 0) {
		run_error("worker %u: cannot set policy %u priority %d: %s", index, op->policy, op->priority,
			  strerror(errno));
		return false;
	}
	if (op->nice && setpriority(PRIO_PROCESS, (id_t)pid, op->nice) < 0) {
		run_error("worker %u: cannot set nice %d: %s", index, op->nice, strerror(errno));
		return false;
	}
	return true;
}

/* What the kernel then says must be what was asked: it silently narrows a mask to the cpuset. */
static bool set_affinity(const struct ktstr_op_spawn *op, pid_t pid, uint32_t index)
{
	const struct ktstr_cpumask *want = op->has_affinity ? &op->affinity : cgroup_cpus(op->cgroup);
	char wanted[CPULIST_BYTES], granted[CPULIST_BYTES];
	struct ktstr_cpumask got = { 0 };

	if (op->has_affinity && syscall(SYS_sched_setaffinity, pid, sizeof(*want), want) < 0) {
		run_error("worker %u: cannot set affinity: %s", index, strerror(errno));
		return false;
	}
	if (!want || (syscall(SYS_sched_getaffinity, pid, sizeof(got), &got) >= 0 && cpumask_equal(want, &got)))
		return true;
	cpulist_format(want, wanted, sizeof(wanted));
	cpulist_format(&got, granted, sizeof(granted));
	run_error("worker %u: may run on CPUs %s, asked for %s", index, granted, wanted);
	return false;
}

static bool spawn_one(const struct ktstr_op_spawn *op, struct worker_arena *arena)
{
	uint32_t index = arena->report.index;
	pid_t pid = fork_into(cgroup_fd(op->cgroup));

	if (pid == 0)
		work_main(arena, ready_fd);
	if (pid < 0) {
		run_error("worker %u: cannot fork into cgroup %d: %s%s", index, op->cgroup, strerror(errno),
			  errno == EOPNOTSUPP ? " (of nested cgroups, only the innermost may hold workers)" : "");
		return false;
	}
	arena->report.tid = pid;
	workers[worker_count++] = (struct worker){ .pid = pid, .arena = arena };
	living++;
	return set_policy(op, pid, index) && set_affinity(op, pid, index);
}

/* Two pipes for a pair: what one writes the other reads. */
static bool make_pipes(struct worker_arena **pair, int fds[4])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	if (pipe2(fds + 2, O_CLOEXEC) < 0) {
		close(fds[0]);
		close(fds[1]);
		return false;
	}
	pair[0]->read_fd = fds[0];
	pair[1]->write_fd = fds[1];
	pair[1]->read_fd = fds[2];
	pair[0]->write_fd = fds[3];
	return true;
}

static bool spawn_group(const struct ktstr_op_spawn *op, uint32_t first, uint32_t size)
{
	struct worker_arena *arenas[2];
	int fds[4] = { -1, -1, -1, -1 };
	bool good = true;

	for (uint32_t i = 0; i < size; i++) {
		arenas[i] = make_arena(op, worker_count + i, first + i);
		if (!arenas[i]) {
			run_error("worker %u: no memory", worker_count + i);
			return false;
		}
		arenas[i]->leader = arenas[0];
	}
	if (op->work_type == KTSTR_WORK_PIPE_IO && !make_pipes(arenas, fds)) {
		run_error("worker %u: cannot make its pipes: %s", worker_count, strerror(errno));
		return false;
	}
	for (uint32_t i = 0; i < size && good; i++)
		good = spawn_one(op, arenas[i]);
	for (int i = 0; i < 4; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return good;
}

void worker_spawn(const struct ktstr_op_spawn *op)
{
	uint32_t size = work_group_size(op->work_type);

	if (op->cgroup >= 0 && cgroup_fd(op->cgroup) < 0) {
		run_error("Spawn into cgroup %d, which was removed", op->cgroup);
		return;
	}
	for (uint32_t first = 0; first < op->worker_count && !run_check_deadline(); first += size)
		if (!spawn_group(op, first, size))
			return;
}

void worker_release(const struct ktstr_op_release *op)
{
	/* One that died before its gate will never be ready; its report says so. */
	while (ready < living && !run_aborting())
		events_wait(UINT64_MAX);
	if (run_aborting())
		return;
	for (uint32_t i = 0; i < op->count; i++) {
		struct worker_arena *arena = workers[op_release_order(op)[i]].arena;

		arena->release_ns = now_ns();
		atomic_store(&arena->gate, 1);
		syscall(SYS_futex, &arena->gate, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

static void signal_living(int signal)
{
	for (uint32_t i = 0; i < worker_count; i++)
		if (workers[i].pid)
			kill(workers[i].pid, signal);
}

static void wait_for_living(uint64_t until)
{
	bool deadline_before = run_status() == KTSTR_END_DEADLINE;

	while (living && now_ns() < until) {
		events_wait(until);
		if (!deadline_before && run_status() == KTSTR_END_DEADLINE)
			return; /* it came while we waited: no more time for those that are left */
	}
}

static void stop_living(uint64_t timeout_ns)
{
	for (uint32_t i = 0; i < worker_count; i++) {
		atomic_store(&workers[i].arena->stop, 1);
		if (workers[i].pid && !atomic_load(&workers[i].arena->gate))
			syscall(SYS_futex, &workers[i].arena->gate, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	signal_living(WORK_STOP_SIGNAL);
	wait_for_living(now_ns() + timeout_ns);
	for (uint32_t i = 0; i < worker_count; i++) {
		if (!workers[i].pid)
			continue;
		workers[i].timed_out = true;
		measure_from_outside(workers[i].arena, workers[i].pid);
	}
	if (run_status() == KTSTR_END_DEADLINE)
		return; /* what cannot run cannot die either, and the machine is about to end */
	signal_living(SIGKILL);
	wait_for_living(now_ns() + KILL_WAIT_NS);
}

static void describe_exit(struct worker *worker)
{
	struct ktstr_msg_worker *report = &worker->arena->report;

	if (report->completed)
		return;
	if (worker->timed_out || worker->pid) {
		report->exit_kind = KTSTR_EXIT_TIMED_OUT;
	} else if (WIFEXITED(worker->status)) {
		report->exit_kind = KTSTR_EXIT_EXITED;
		report->exit_code = WEXITSTATUS(worker->status);
	} else {
		report->exit_kind = KTSTR_EXIT_SIGNALED;
		report->exit_code = WTERMSIG(worker->status);
	}
}

void worker_stop_all(uint64_t timeout_ns)
{
	if (reported == worker_count)
		return;
	if (living)
		stop_living(timeout_ns);
	for (; reported < worker_count; reported++) {
		describe_exit(&workers[reported]);
		report_worker(workers[reported].arena);
	}
}

uint64_t worker_iterations(void)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < worker_count; i++)
		total += atomic_load_explicit(&workers[i].arena->iterations, memory_order_relaxed);
	return total;
}
