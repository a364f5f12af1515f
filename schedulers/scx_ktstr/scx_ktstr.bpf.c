// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_ktstr: the scheduler that ktstr tests itself with. One first-in first-out
 * queue for the whole machine, and switches that make it wrong (faults.bpf.h).
 *
 * A task that wakes while an allowed CPU is idle starts there at once; any other
 * waits its turn in the shared queue, which each CPU that runs dry takes the first
 * task it may run from. Turns last as long as the task's weight says, within
 * bounds, so nobody's wait is longer than the sum of the turns ahead. Kernel
 * threads skip the queue, so that the machine lives while everything else stalls.
 * Once a cgroup has a weight or a limit, each has a queue of its own (cgroups.bpf.h).
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "scx_ktstr.h"

enum {
	SHARED_DSQ = 0,
	KTHREAD = 0x00200000,	/* PF_KTHREAD: a macro, hence not in BTF */
	NICE_0_WEIGHT = 100,	/* of p->scx.weight, on cgroup's scale */
};

#define SLICE_NS	(10 * MSEC)
#define SLICE_MIN_NS	(1 * MSEC)
#define SLICE_MAX_NS	(40 * MSEC)

#include "compat.bpf.h"
#include "faults.bpf.h"
#include "cgroups.bpf.h"

char _license[] SEC("license") = "GPL";

/* Set by the loader before load: a turn of a task of nice 0. */
const volatile unsigned long long slice_ns = SLICE_NS;

struct ktstr_exit exit_record;

static __always_inline u64 slice_of(const struct task_struct *p)
{
	u64 slice = slice_ns * p->scx.weight / NICE_0_WEIGHT;

	if (degraded())
		return SLICE_MAX_NS;
	if (slice < SLICE_MIN_NS)
		return SLICE_MIN_NS;
	return slice > SLICE_MAX_NS ? SLICE_MAX_NS : slice;
}

SEC("struct_ops/ktstr_select_cpu")
s32 BPF_PROG(ktstr_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool is_idle = false;
	s32 cpu;

	if (floods_local && bpf_cpumask_test_cpu___k(0, p->cpus_ptr))
		return 0;
	/* An idle CPU would run the task without asking dispatch. */
	if (stalled() || degraded() || loses_every || ignores_affinity || ignores_online || is_starved(p))
		return prev_cpu;
	if (is_over_limit(p) || waits_for_offline(p))
		return prev_cpu;
	if (loses_race(p)) {
		dsq_insert(p, LOST_DSQ, slice_of(p), 0);
		return prev_cpu;
	}

	cpu = scx_bpf_select_cpu_dfl___k(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle)
		dsq_insert(p, SCX_DSQ_LOCAL, slice_of(p), 0);
	return cpu;
}

/* Where a task waits, were it for the faults alone: mostly nowhere else than others. */
static __always_inline u64 queue_of(const struct task_struct *p, u64 enq_flags)
{
	s32 cpu;

	if (p->flags & KTHREAD || floods_local)
		return SCX_DSQ_LOCAL;
	if (is_starved(p))
		return STARVED_DSQ;
	if (loses_wakeup(enq_flags))
		return LOST_DSQ;
	if (ignores_affinity && (cpu = forbidden_cpu(p)) >= 0)
		return SCX_DSQ_LOCAL_ON | cpu;
	if (waits_for_offline(p))
		return OFFLINE_DSQ;
	return by_cgroup ? cgroup_queue(p) : SHARED_DSQ;
}

SEC("struct_ops/ktstr_enqueue")
void BPF_PROG(ktstr_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 queue = queue_of(p, enq_flags);
	s32 cpu;

	if (queue == STARVED_DSQ)
		note_starved();
	dsq_insert(p, queue, slice_of(p), enq_flags);
	if (queue != SHARED_DSQ && !by_cgroup)
		return;

	/* Not every path here went through select_cpu: an allowed CPU may be asleep. */
	cpu = scx_bpf_pick_idle_cpu___k(p->cpus_ptr, 0);
	if (cpu >= 0)
		scx_bpf_kick_cpu___k(cpu, SCX_KICK_IDLE);
}

static __always_inline bool could_go_on(const struct task_struct *prev)
{
	return prev && prev->scx.flags & SCX_TASK_QUEUED;
}

static __always_inline void go_on(struct task_struct *prev, s32 cpu, u64 slice)
{
	task_set_slice(prev, slice);
	begin_charge(prev, cpu);
}

/*
 * Nobody else is to run here: prev goes on, as the kernel would have it by itself, if its cgroup lets it.
 * SCX_OPS_ENQ_LAST leaves that to us, and what does not go on is enqueued.
 */
static __always_inline void keep(struct task_struct *prev, s32 cpu)
{
	if (!could_go_on(prev))
		return;
	end_charge(prev, cpu);
	if (prev->flags & KTHREAD || !is_over_limit(prev))
		go_on(prev, cpu, SCX_SLICE_DFL);
}

/* Whether it is decided who runs here next: a task that was moved, or prev, which is in no queue yet. */
static __always_inline bool pick_by_cgroup(struct task_struct *prev, s32 cpu)
{
	bool queued = could_go_on(prev) && !(prev->flags & KTHREAD);
	int next;

	if (!by_cgroup)
		return false;
	if (queued)
		end_charge(prev, cpu);
	next = next_by_cgroup(queued ? (s32)place_of_task(prev) : -1);
	if (next == GOES_ON && queued)
		go_on(prev, cpu, slice_of(prev));
	return next != NOBODY;
}

SEC("struct_ops/ktstr_dispatch")
void BPF_PROG(ktstr_dispatch, s32 cpu, struct task_struct *prev)
{
	print_dispatch(cpu);
	fail_when_due();
	delay_dispatch();
	write_nowhere(prev);
	if (!stalled() && !is_unused(cpu) &&
	    (move_kept() || pick_by_cgroup(prev, cpu) || dsq_move_to_local(SHARED_DSQ)))
		return;
	keep(prev, cpu);
}

SEC("struct_ops/ktstr_running")
void BPF_PROG(ktstr_running, struct task_struct *p)
{
	begin_charge(p, bpf_get_smp_processor_id());
}

SEC("struct_ops/ktstr_stopping")
void BPF_PROG(ktstr_stopping, struct task_struct *p, bool runnable)
{
	end_charge(p, bpf_get_smp_processor_id());
}

SEC("struct_ops.s/ktstr_cgroup_init")
s32 BPF_PROG(ktstr_cgroup_init, struct cgroup *cgrp, struct scx_cgroup_init_args *args)
{
	struct scx_cgroup_init_args___bw *bw = (void *)args;
	u64 id = BPF_CORE_READ(cgrp, kn, id);
	s32 err = add_cgroup(id, BPF_CORE_READ(cgrp, self.parent, cgroup, kn, id), args->weight);

	if (!err && bpf_core_field_exists(bw->bw_quota_us))
		limit(place_of(id), BPF_CORE_READ(bw, bw_period_us), BPF_CORE_READ(bw, bw_quota_us),
		      BPF_CORE_READ(bw, bw_burst_us));
	return err;
}

SEC("struct_ops.s/ktstr_cgroup_exit")
void BPF_PROG(ktstr_cgroup_exit, struct cgroup *cgrp)
{
	remove_cgroup(BPF_CORE_READ(cgrp, kn, id));
}

SEC("struct_ops/ktstr_cgroup_set_weight")
void BPF_PROG(ktstr_cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
	weigh(place_of(BPF_CORE_READ(cgrp, kn, id)), weight);
}

SEC("struct_ops/ktstr_cgroup_set_bandwidth")
void BPF_PROG(ktstr_cgroup_set_bandwidth, struct cgroup *cgrp, u64 period_us, u64 quota_us, u64 burst_us)
{
	limit(place_of(BPF_CORE_READ(cgrp, kn, id)), period_us, quota_us, burst_us);
}

/* Without these two the kernel would end the scheduler. */
SEC("struct_ops.s/ktstr_cpu_online")
void BPF_PROG(ktstr_cpu_online, s32 cpu)
{
	if ((u32)cpu < KTSTR_MAX_CPUS)
		came_online[cpu] = true;
	if (cpu == offline_cpu)
		offline_cpu = -1;
}

SEC("struct_ops.s/ktstr_cpu_offline")
void BPF_PROG(ktstr_cpu_offline, s32 cpu)
{
	offline_cpu = cpu;
}

SEC("struct_ops.s/ktstr_init")
s32 BPF_PROG(ktstr_init)
{
	s32 err = scx_bpf_create_dsq___k(SHARED_DSQ, -1);

	attached_at_ns = bpf_ktime_get_ns();
	busy_the_verifier();
	return err ?: make_fault_queues() ?: make_refill_timer();
}

/* Loaded when asked for only: a queue for each task, which nobody ever gives back. */
SEC("struct_ops.s/ktstr_init_task")
s32 BPF_PROG(ktstr_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return scx_bpf_create_dsq___k(LEAKED_DSQS + __sync_fetch_and_add(&leaked, 1), -1);
}

SEC("struct_ops/ktstr_exit")
void BPF_PROG(ktstr_exit, struct scx_exit_info *ei)
{
	bpf_probe_read_kernel_str(exit_record.reason, sizeof(exit_record.reason), ei->reason);
	bpf_probe_read_kernel_str(exit_record.msg, sizeof(exit_record.msg), ei->msg);
	exit_record.code = ei->exit_code;
	exit_record.is_error = ei->kind >= SCX_EXIT_ERROR;
	barrier();
	exit_record.kind = ei->kind;
}

SEC(".struct_ops.link")
struct sched_ext_ops___ktstr ktstr_ops = {
	.select_cpu		= (void *)ktstr_select_cpu,
	.enqueue		= (void *)ktstr_enqueue,
	.dispatch		= (void *)ktstr_dispatch,
	.running		= (void *)ktstr_running,
	.stopping		= (void *)ktstr_stopping,
	.init_task		= (void *)ktstr_init_task,
	.cgroup_init		= (void *)ktstr_cgroup_init,
	.cgroup_exit		= (void *)ktstr_cgroup_exit,
	.cgroup_set_weight	= (void *)ktstr_cgroup_set_weight,
	.cgroup_set_bandwidth	= (void *)ktstr_cgroup_set_bandwidth,
	.cpu_online		= (void *)ktstr_cpu_online,
	.cpu_offline		= (void *)ktstr_cpu_offline,
	.init			= (void *)ktstr_init,
	.exit			= (void *)ktstr_exit,
	.flags			= SCX_OPS_ENQ_LAST,
	.timeout_ms		= 2000,
	.name			= "ktstr",
};
