// SPDX-License-Identifier: GPL-2.0-only
/*
 * The types of a kernel that a scheduler of the tests needs. Compiled for BPF, its
 * .BTF section stands for a kernel's in tests that build but do not boot.
 */
typedef unsigned char u8;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;
typedef _Bool bool;
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

enum scx_exit_kind { SCX_EXIT_NONE = 0, SCX_EXIT_UNREG = 64, SCX_EXIT_ERROR = 1024 };
enum truth { false, true };
enum scx_consts {
	SCX_DSQ_LOCAL = 0x8000000000000002ULL,
	SCX_DSQ_LOCAL_ON = 0xc000000000000000ULL,
	SCX_KICK_IDLE = 1,
	SCX_SLICE_DFL = 20000000
};
enum scx_ops_flags { SCX_OPS_ENQ_LAST = 2 };
enum scx_ent_flags { SCX_TASK_QUEUED = 1 };
enum scx_enq_flags { SCX_ENQ_WAKEUP = 1 };
enum bpf_map_type { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2 };

struct cpumask {
	unsigned long bits[1];
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	char *msg;
};

struct bpf_timer {
	__u64 __opaque[2];
};

struct sched_ext_entity {
	u32 flags;
	u64 slice;
	u32 weight;
};

struct sched_entity {
	u64 sum_exec_runtime;
};

struct kernfs_node {
	const char *name;
	u64 id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct task_group {
	struct cgroup_subsys_state css;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct scx_init_task_args {
	bool fork;
};

struct scx_cgroup_init_args {
	u32 weight;
};

struct task_struct {
	unsigned int flags;
	s32 pid;
	struct task_group *sched_task_group;
	struct sched_entity se;
	struct css_set *cgroups;
	struct sched_ext_entity scx;
	const struct cpumask *cpus_ptr;
};

struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *ei);
	u32 timeout_ms;
	char name[128];
};

/* BTF keeps the types that something uses, and bpftool prints enums that a struct holds. */
struct sched_ext_ops ops;
struct css_set set;
struct cgroup group;
struct kernfs_node node;
struct scx_init_task_args init_task;
struct scx_cgroup_init_args cgroup_init;
struct task_group tasks;
struct bpf_timer timer;
struct {
	enum scx_ops_flags ops_flags;
	enum scx_ent_flags ent_flags;
	enum scx_consts consts;
	enum scx_enq_flags enq_flags;
	enum bpf_map_type map_type;
	enum truth truth;
} enums;
bool flag;
u8 byte;
__u8 u_byte;
__s16 s_half;
__s32 s_word;
__s64 s_long;
__u64 u_long;
__be16 be_half;
__be32 be_word;
__wsum sum;
