/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kfuncs under one name for every kernel with sched_ext (6.12 and later).
 *
 * libbpf drops a ___suffix before it looks a kfunc up in the kernel's BTF, so a
 * suffixed name may be declared here whatever vmlinux.h declares. A weak one that
 * the kernel lacks reads as NULL at load, and the verifier removes its branch.
 *
 * 6.13 renamed scx_bpf_dispatch() to scx_bpf_dsq_insert() and scx_bpf_consume()
 * to scx_bpf_dsq_move_to_local(); the old names are gone since.
 */
#ifndef COMPAT_BPF_H
#define COMPAT_BPF_H

s32 scx_bpf_create_dsq___k(u64 dsq_id, s32 node) __ksym;
s32 scx_bpf_select_cpu_dfl___k(struct task_struct *p, s32 prev_cpu, u64 wake_flags, bool *is_idle) __ksym;
s32 scx_bpf_pick_idle_cpu___k(const struct cpumask *allowed, u64 flags) __ksym;
void scx_bpf_kick_cpu___k(s32 cpu, u64 flags) __ksym;
void scx_bpf_error_bstr___k(char *fmt, unsigned long long *data, u32 data__sz) __ksym;
s32 scx_bpf_dsq_nr_queued___k(u64 dsq_id) __ksym;
bool bpf_cpumask_test_cpu___k(u32 cpu, const struct cpumask *cpumask) __ksym;
void scx_bpf_ktstr_missing___k(void) __ksym __weak; /* no kernel has it */

void scx_bpf_dsq_insert___k(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak;
void scx_bpf_dispatch___k(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak;
bool scx_bpf_dsq_move_to_local___k(u64 dsq_id) __ksym __weak;
bool scx_bpf_consume___k(u64 dsq_id) __ksym __weak;

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

#endif
