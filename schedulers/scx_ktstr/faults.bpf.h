/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What makes scx_ktstr wrong on demand. The loader sets each switch before load, and none is on unless
 * asked for: what is off is a constant to the verifier, which removes its branch.
 */
#ifndef FAULTS_BPF_H
#define FAULTS_BPF_H

#define MSEC		1000000ULL

/* Nanoseconds after the attach from which it is so; negative: never. */
const volatile long long stall_after_ns = -1;
const volatile long long error_after_ns = -1;
const volatile long long degrade_after_ns = -1;

const volatile char starved_cgroup[KTSTR_CGROUP_LEN];	/* a cgroup's own name; empty: none */
const volatile bool ignores_affinity;
const volatile bool floods_local;
const volatile bool ignores_weights;
const volatile bool ignores_limits;
const volatile bool ignores_online;
const volatile bool uses_offline;
const volatile bool fails_verification;
const volatile bool calls_missing_kfunc;
const volatile bool prints;
const volatile unsigned int loses_every;		/* the n-th wakeup; 0: none */
const volatile unsigned long long race_ns;		/* between two wakeups; 0: none is lost */
const volatile unsigned int dispatch_delay_us;
const volatile unsigned int verified_loops;
const volatile unsigned int cpus;			/* of this machine */

enum {
	STARVED_DSQ = 1,	/* which CPUs take from when its first task has waited for long */
	LOST_DSQ = 2,		/* which CPUs take from only at times */
	OFFLINE_DSQ = 3,	/* which only the CPU that is offline takes from */
	LEAKED_DSQS = 1000,	/* and on: one for each task that ever began */
};

/* What a task of the starved cgroup runs before it is: it comes to life, and begins. And how long it waits then. */
#define UNSTARVED_NS	(50 * MSEC)
#define STARVED_NS	(4000 * MSEC)

/* When tasks whose wakeup was lost are found again: so long in each so long. */
#define LOST_NS		(500 * MSEC)
#define FOUND_NS	(30 * MSEC)

/* On the kernel's clock, so that faults come whether or not the loader runs. */
static u64 attached_at_ns;
static u64 starved_at_ns;
static u32 wakeups;
static u64 timer_woke_at_ns;
static u64 raced_at_ns;			/* the last time that one lost */
static u64 leaked;
static bool came_online[KTSTR_MAX_CPUS];	/* since the attach */
static s32 offline_cpu = -1;			/* the last one that went */
static u64 loop_sum;

/* Kept out of libbpf's way by a loader that does not use it: the kernel, or libbpf before, refuses it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} refused_map SEC(".maps");

static __always_inline bool is_due(long long after_ns)
{
	return after_ns >= 0 && bpf_ktime_get_ns() - attached_at_ns >= (u64)after_ns;
}

static __always_inline bool stalled(void)
{
	return stall_after_ns >= 0 && is_due(stall_after_ns);
}

static __always_inline bool degraded(void)
{
	return degrade_after_ns >= 0 && is_due(degrade_after_ns);
}

static __always_inline bool is_starved(const struct task_struct *p)
{
	char name[KTSTR_CGROUP_LEN] = "";
	const char *at;

	if (!starved_cgroup[0] || p->se.sum_exec_runtime < UNSTARVED_NS)
		return false;
	at = BPF_CORE_READ(p, cgroups, dfl_cgrp, kn, name);
	bpf_probe_read_kernel_str(name, sizeof(name), at);
	return bpf_strncmp(name, sizeof(name), (const char *)starved_cgroup) == 0;
}

static __always_inline void note_starved(void)
{
	if (!scx_bpf_dsq_nr_queued___k(STARVED_DSQ))
		starved_at_ns = bpf_ktime_get_ns();
}

/* Whether a task that a fault kept has its turn now. */
static __always_inline bool move_kept(void)
{
	if (starved_cgroup[0] && bpf_ktime_get_ns() - starved_at_ns >= STARVED_NS && dsq_move_to_local(STARVED_DSQ))
		return true;
	if (uses_offline && offline_cpu < 0 && dsq_move_to_local(OFFLINE_DSQ))
		return true;
	if (race_ns && bpf_ktime_get_ns() - raced_at_ns >= LOST_NS && dsq_move_to_local(LOST_DSQ))
		return true;
	return loses_every && bpf_ktime_get_ns() % LOST_NS < FOUND_NS && dsq_move_to_local(LOST_DSQ);
}

/* Whether it leaves this CPU alone, for it was not there at the attach. */
static __always_inline bool is_unused(s32 cpu)
{
	return ignores_online && (u32)cpu < KTSTR_MAX_CPUS && came_online[cpu];
}

/* Tasks share out the CPUs by their ids: this one's is offline. */
static __always_inline bool waits_for_offline(const struct task_struct *p)
{
	return uses_offline && offline_cpu >= 0 && cpus && p->pid % cpus == (u32)offline_cpu;
}

static __always_inline bool loses_wakeup(u64 enq_flags)
{
	return loses_every && enq_flags & SCX_ENQ_WAKEUP && __sync_fetch_and_add(&wakeups, 1) % loses_every == 0;
}

/* A task and its parent, by the kernel's own names: found when it is loaded. */
struct task_struct___parent {
	struct task_struct___parent *real_parent;
	int tgid;
} __attribute__((preserve_access_index));

/*
 * One slot for what timers wake, which a task that comes too soon after another does not get. Called by the waker: what
 * is not the task's parent, which releases it, has been interrupted by a timer.
 */
static __always_inline bool loses_race(struct task_struct *p)
{
	const struct task_struct___parent *waker = (const void *)bpf_get_current_task();
	const struct task_struct___parent *woken = (const void *)p;
	u64 now, before;

	if (!race_ns || p->flags & KTHREAD || BPF_CORE_READ(waker, tgid) == BPF_CORE_READ(woken, real_parent, tgid))
		return false;
	now = bpf_ktime_get_ns();
	before = __sync_lock_test_and_set(&timer_woke_at_ns, now);
	if (now - before >= race_ns)
		return false;
	raced_at_ns = now;
	return true;
}

/* A CPU that the task may not run on; negative where it may run on all. */
static __always_inline s32 forbidden_cpu(const struct task_struct *p)
{
	for (u32 cpu = 0; cpu < KTSTR_MAX_CPUS && cpu < cpus; cpu++)
		if (!bpf_cpumask_test_cpu___k(cpu, p->cpus_ptr))
			return cpu;
	return -1;
}

static __always_inline void fail_when_due(void)
{
	static char format[] = "scx_ktstr was asked to fail after %llu ms";
	unsigned long long after_ms[1];

	if (error_after_ns < 0 || !is_due(error_after_ns))
		return;
	after_ms[0] = error_after_ns / MSEC;
	scx_bpf_error_bstr___k(format, after_ms, sizeof(after_ms));
}

static long look_at_clock(u32 index, u64 *until)
{
	return bpf_ktime_get_ns() >= *until;
}

static __always_inline void delay_dispatch(void)
{
	u64 until;

	if (!dispatch_delay_us)
		return;
	until = bpf_ktime_get_ns() + dispatch_delay_us * 1000ULL;
	bpf_loop(1 << 22, look_at_clock, &until, 0);
}

/* A task's weight taken for an address: what the verifier refuses. */
static __always_inline void write_nowhere(const struct task_struct *prev)
{
	if (fails_verification && prev)
		*(volatile u64 *)(u64)prev->scx.weight = 1;
	if (calls_missing_kfunc)
		scx_bpf_ktstr_missing___k();
}

/* Walked once for each pass by the verifier, to which no two are alike. */
static __always_inline void busy_the_verifier(void)
{
	for (u32 i = 0; i < verified_loops; i++)
		loop_sum += bpf_get_smp_processor_id() ^ i;
}

static __always_inline void print_dispatch(s32 cpu)
{
	if (prints)
		bpf_printk("scx_ktstr: dispatch on CPU %d", cpu);
}

static __always_inline s32 make_fault_queues(void)
{
	s32 err = 0;

	if (starved_cgroup[0])
		err = scx_bpf_create_dsq___k(STARVED_DSQ, -1);
	if (!err && (loses_every || race_ns))
		err = scx_bpf_create_dsq___k(LOST_DSQ, -1);
	if (!err && uses_offline)
		err = scx_bpf_create_dsq___k(OFFLINE_DSQ, -1);
	return err;
}

#endif
