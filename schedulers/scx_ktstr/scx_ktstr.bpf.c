// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_ktstr: the scheduler that ktstr tests itself with. One first-in first-out
 * queue for the whole machine, and a switch that makes it stop.
 *
 * A task that wakes while an allowed CPU is idle starts there at once; any other
 * waits its turn in the shared queue, which each CPU that runs dry takes the first
 * task it may run from. Turns last as long as the task's weight says, within
 * bounds, so nobody's wait is longer than the sum of the turns ahead. Kernel
 * threads skip the queue, so that the machine lives while everything else stalls.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "compat.bpf.h"
#include "scx_ktstr.h"

char _license[] SEC("license") = "GPL";

enum {
	SHARED_DSQ = 0,
	KTHREAD = 0x00200000,	/* PF_KTHREAD: a macro, hence not in BTF */
	NICE_0_WEIGHT = 100,	/* of p->scx.weight, on cgroup's scale */
};

#define MSEC		1000000ULL
#define SLICE_NS	(10 * MSEC)
#define SLICE_MIN_NS	(1 * MSEC)
#define SLICE_MAX_NS	(40 * MSEC)

/* Set by the loader before load; negative: never stall. */
const volatile long long stall_after_ns = -1;

/* Set by the loader before load: a turn of a task of nice 0. */
const volatile unsigned long long slice_ns = SLICE_NS;

/* On the kernel's clock, so that the stall comes whether or not the loader runs. */
static u64 stall_at_ns;

struct ktstr_exit exit_record;

static __always_inline bool stalled(void)
{
	return stall_after_ns >= 0 && bpf_ktime_get_ns() >= stall_at_ns;
}

static __always_inline u64 slice_of(const struct task_struct *p)
{
	u64 slice = slice_ns * p->scx.weight / NICE_0_WEIGHT;

	if (slice < SLICE_MIN_NS)
		return SLICE_MIN_NS;
	return slice > SLICE_MAX_NS ? SLICE_MAX_NS : slice;
}

SEC("struct_ops/ktstr_select_cpu")
s32 BPF_PROG(ktstr_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool is_idle = false;
	s32 cpu;

	/* An idle CPU would run the task without asking dispatch. */
	if (stalled())
		return prev_cpu;

	cpu = scx_bpf_select_cpu_dfl___k(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle)
		dsq_insert(p, SCX_DSQ_LOCAL, slice_of(p), 0);
	return cpu;
}

SEC("struct_ops/ktstr_enqueue")
void BPF_PROG(ktstr_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu;

	if (p->flags & KTHREAD) {
		dsq_insert(p, SCX_DSQ_LOCAL, slice_of(p), enq_flags);
		return;
	}

	dsq_insert(p, SHARED_DSQ, slice_of(p), enq_flags);

	/* Not every path here went through select_cpu: an allowed CPU may be asleep. */
	cpu = scx_bpf_pick_idle_cpu___k(p->cpus_ptr, 0);
	if (cpu >= 0)
		scx_bpf_kick_cpu___k(cpu, SCX_KICK_IDLE);
}

SEC("struct_ops/ktstr_dispatch")
void BPF_PROG(ktstr_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!stalled())
		dsq_move_to_local(SHARED_DSQ);
}

SEC("struct_ops.s/ktstr_init")
s32 BPF_PROG(ktstr_init)
{
	stall_at_ns = bpf_ktime_get_ns() + (stall_after_ns > 0 ? stall_after_ns : 0);
	return scx_bpf_create_dsq___k(SHARED_DSQ, -1);
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
struct sched_ext_ops ktstr_ops = {
	.select_cpu	= (void *)ktstr_select_cpu,
	.enqueue	= (void *)ktstr_enqueue,
	.dispatch	= (void *)ktstr_dispatch,
	.init		= (void *)ktstr_init,
	.exit		= (void *)ktstr_exit,
	.timeout_ms	= 2000,
	.name		= "ktstr",
};
