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

bool place_policy(const struct ktstr_work *work, pid_t pid, uint32_t worker)
{
	static const int policies[] = {
		[KTSTR_POLICY_NORMAL] = SCHED_OTHER, [KTSTR_POLICY_BATCH] = SCHED_BATCH,
		[KTSTR_POLICY_IDLE] = SCHED_IDLE,    [KTSTR_POLICY_FIFO] = SCHED_FIFO,
		[KTSTR_POLICY_RR] = SCHED_RR,
	};
	struct sched_param param = { .sched_priority = work->priority };

	if (work->policy != KTSTR_POLICY_NORMAL && sched_setscheduler(pid, policies[work->policy], &param) < 0) {
		run_error("worker %u: cannot set policy %u priority %d: %s", worker, work->policy, work->priority,
			  strerror(errno));
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
	struct ktstr_cpumask got = { 0 };

	if (set && syscall(SYS_sched_setaffinity, pid, sizeof(*set), set) < 0) {
		run_error("worker %u: cannot set affinity: %s", worker, strerror(errno));
		return false;
	}
	if (!want || (syscall(SYS_sched_getaffinity, pid, sizeof(got), &got) >= 0 && cpumask_equal(want, &got)))
		return true;
	cpulist_format(want, wanted, sizeof(wanted));
	cpulist_format(&got, granted, sizeof(granted));
	run_error("worker %u: may run on CPUs %s, asked for %s", worker, granted, wanted);
	return false;
}
