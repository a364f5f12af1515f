// SPDX-License-Identifier: GPL-2.0-only
/* Where and how a worker runs: its cgroup, policy and CPUs. */
#include "worker/place.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cpulist.h"
#include "proc/offline.h"
#include "wire/errors.h"

bool place_pipes(struct slot *one, struct slot *other, int fds[4])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	if (pipe2(fds + 2, O_CLOEXEC) < 0) {
		close(fds[0]);
		close(fds[1]);
		fds[0] = fds[1] = -1;
		return false;
	}
	one->read_fd = other->partner_read_fd = fds[0];
	other->write_fd = one->partner_write_fd = fds[1];
	other->read_fd = one->partner_read_fd = fds[2];
	one->write_fd = other->partner_write_fd = fds[3];
	return true;
}

/* struct sched_attr, and numbers, of include/uapi/linux/sched.h and sched/types.h: libc has not all of them. */
#define DEADLINE 6
#define EXT 7
#define RESET_ON_FORK 1

/* What the kernel means by EPERM when such a policy is set, and by EBUSY when a task has it. */
#define EVERYWHERE " (one of policy deadline has to run on all CPUs of its root domain)"

struct attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

bool place_policy(const struct ktstr_work *work, pid_t pid, uint32_t worker)
{
	static const struct {
		const char *name;
		uint32_t number;
	} policies[] = {
		[KTSTR_POLICY_NORMAL] = { "normal", SCHED_OTHER }, [KTSTR_POLICY_BATCH] = { "batch", SCHED_BATCH },
		[KTSTR_POLICY_IDLE] = { "idle", SCHED_IDLE },      [KTSTR_POLICY_FIFO] = { "fifo", SCHED_FIFO },
		[KTSTR_POLICY_RR] = { "rr", SCHED_RR },            [KTSTR_POLICY_DEADLINE] = { "deadline", DEADLINE },
		[KTSTR_POLICY_EXT] = { "ext", EXT },
	};
	struct attributes attributes = {
		.size = sizeof(attributes),
		.policy = policies[work->policy].number,
		.priority = (uint32_t)work->priority,
		.runtime_ns = work->runtime_ns,
		.deadline_ns = work->deadline_ns,
		.period_ns = work->period_ns,
		/* A task of this class may not fork one of its own; one that forks none may have the flag. */
		.flags = work->policy == KTSTR_POLICY_DEADLINE ? RESET_ON_FORK : 0,
	};

	if (work->policy != KTSTR_POLICY_NORMAL && syscall(SYS_sched_setattr, pid, &attributes, 0) < 0) {
		run_error("worker %u: cannot set policy %s priority %d: %s%s", worker, policies[work->policy].name,
			  work->priority, strerror(errno), errno == EPERM ? EVERYWHERE : "");
		return false;
	}
	if (work->nice && setpriority(PRIO_PROCESS, (id_t)pid, work->nice) < 0) {
		run_error("worker %u: cannot set nice %d: %s", worker, work->nice, strerror(errno));
		return false;
	}
	return true;
}

/* What the kernel then says must be what was asked: it silently narrows a mask to the cpuset. */
bool place_mask(const struct ktstr_cpumask *set, const struct ktstr_cpumask *want, pid_t pid, uint32_t worker)
{
	char wanted[CPULIST_BYTES], granted[CPULIST_BYTES];
	struct ktstr_cpumask got = { 0 }, online;

	if (set && syscall(SYS_sched_setaffinity, pid, sizeof(*set), set) < 0) {
		run_error("worker %u: cannot set affinity: %s%s", worker, strerror(errno),
			  errno == EBUSY ? EVERYWHERE : "");
		return false;
	}
	if (!want)
		return true;
	online = offline_without(want);
	if (syscall(SYS_sched_getaffinity, pid, sizeof(got), &got) >= 0 && cpumask_equal(&online, &got))
		return true;
	cpulist_format(&online, wanted, sizeof(wanted));
	cpulist_format(&got, granted, sizeof(granted));
	run_error("worker %u: may run on CPUs %s, asked for %s", worker, granted, wanted);
	return false;
}
