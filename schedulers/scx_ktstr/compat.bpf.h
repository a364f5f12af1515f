/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kfuncs under one name for every kernel with sched_ext (6.12 and later).
 *
 * libbpf drops a ___suffix before it looks a kfunc up in the kernel's BTF, so a
 * suffixed name may be declared here whatever vmlinux.h declares. A weak one that
 * the kernel lacks reads as NULL at load, and the verifier removes its branch.
 *
 * 6.13 renamed scx_bpf_dispatch() to scx_bpf_dsq_insert() and scx_bpf_consume()
 * to scx_bpf_dsq_move_to_local(); the old names are gone since. 6.19 has
 * scx_bpf_task_set_slice(), and will not let p->scx.slice be written for ever.
 */
#ifndef COMPAT_BPF_H
#define COMPAT_BPF_H

s32 scx_bpf_create_dsq___k(u64 dsq_id, s32 node) __ksym;
s32 scx_bpf_select_cpu_dfl___k(struct task_struct *p, s32 prev_cpu, u64 wake_flags, bool *is_idle) __ksym;
s32 scx_bpf_pick_idle_cpu___k(const struct cpumask *allowed, u64 flags) __ksym;
void scx_bpf_kick_cpu___k(s32 cpu, u64 flags) __ksym;
void scx_bpf_error_bstr___k(char *fmt, unsigned long long *data, u32 data__sz) __ksym;
s32 scx_bpf_dsq_nr_queued___k(u64 dsq_id) __ksym;
void scx_bpf_destroy_dsq___k(u64 dsq_id) __ksym;
bool bpf_cpumask_test_cpu___k(u32 cpu, const struct cpumask *cpumask) __ksym;
void scx_bpf_ktstr_missing___k(void) __ksym __weak; /* no kernel has it */

void scx_bpf_dsq_insert___k(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak;
void scx_bpf_dispatch___k(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak;
bool scx_bpf_dsq_move_to_local___k(u64 dsq_id) __ksym __weak;
bool scx_bpf_consume___k(u64 dsq_id) __ksym __weak;
bool scx_bpf_task_set_slice___k(struct task_struct *p, u64 slice) __ksym __weak;

/*
 * What scx_ktstr fills in of struct sched_ext_ops, which it shares with the kernel by the names of members alone:
 * cgroup_set_bandwidth came with 6.17, and those of cgroups are nowhere without CONFIG_EXT_GROUP_SCHED. The loader
 * takes out what the running kernel lacks.
 */
struct sched_ext_ops___ktstr {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	s32 (*cgroup_init)(struct cgroup *cgrp, struct scx_cgroup_init_args *args);
	void (*cgroup_exit)(struct cgroup *cgrp);
	void (*cgroup_set_weight)(struct cgroup *cgrp, u32 weight);
	void (*cgroup_set_bandwidth)(struct cgroup *cgrp, u64 period_us, u64 quota_us, u64 burst_us);
	void (*cpu_online)(s32 cpu);
	void (*cpu_offline)(s32 cpu);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *ei);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

/* As of 6.17; before, there is no limit to begin with. */
struct scx_cgroup_init_args___bw {
	u32 weight;
	u64 bw_period_us;
	u64 bw_quota_us;
	u64 bw_burst_us;
} __attribute__((preserve_access_index));

static __always_inline void dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_insert___k))
		scx_bpf_dsq_insert___k(p, dsq_id, slice, enq_flags);
	else
		scx_bpf_dispatch___k(p, dsq_id, slice, enq_flags);
}

static __always_inline bool dsq_move_to_local(u64 dsq_id)
{
	if (bpf_ksym_exists(scx_bpf_dsq_move_to_local___k))
		return scx_bpf_dsq_move_to_local___k(dsq_id);
	return scx_bpf_consume___k(dsq_id);
}

static __always_inline void task_set_slice(struct task_struct *p, u64 slice)
{
	if (bpf_ksym_exists(scx_bpf_task_set_slice___k))
		scx_bpf_task_set_slice___k(p, slice);
	else
		p->scx.slice = slice;
}

#endif
