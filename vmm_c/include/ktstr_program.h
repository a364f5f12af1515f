// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program that the agent runs: a file in the initrd, or a delivery through the port. The rules
 * of ktstr_proto.h hold for this file too.
 */
#ifndef KTSTR_PROGRAM_H
#define KTSTR_PROGRAM_H

#include <stdint.h>

#define KTSTR_PROTO_VERSION 4
#define KTSTR_PROGRAM_MAGIC 0x5052544b

/* Limits. What is outside them is refused by whoever reads it. */
#define KTSTR_MAX_CPUS 512
#define KTSTR_CPUMASK_WORDS 8
#define KTSTR_MAX_NODES 64
#define KTSTR_MAX_STRING_BYTES 262144
#define KTSTR_MAX_MASKS 8192
#define KTSTR_MAX_CGROUPS 256
#define KTSTR_MAX_WORKS 4096
#define KTSTR_MAX_WORKERS 4096
#define KTSTR_MAX_PAYLOADS 64
#define KTSTR_MAX_OPS 8192
#define KTSTR_MAX_DEPTH 4
#define KTSTR_MAX_PARAMS 16
/* What a work type counts. */
#define KTSTR_MAX_COUNTS 8
#define KTSTR_MAX_ARGS 64
#define KTSTR_MAX_ARG_BYTES 8192
#define KTSTR_MAX_PROGRAM_BYTES 4194304
#define KTSTR_MAX_TEXT_BYTES 4096
#define KTSTR_CGROUP_NAME_BYTES 256
/* Parts of a cgroup's name. */
#define KTSTR_MAX_CGROUP_DEPTH 8
#define KTSTR_MAX_ENV 64
/* What a thread may be called, the NUL left out (TASK_COMM_LEN). */
#define KTSTR_MAX_COMM 15
/* One day: the longest time any field of a program may ask for. */
#define KTSTR_MAX_NS 86400000000000

struct ktstr_cpumask {
	uint64_t bits[KTSTR_CPUMASK_WORDS];
};

/*
 * ---- The program: a header, then its tables, one after the other in the order of enum
 * ktstr_table, each padded with zeros to 8 bytes. ----
 *
 * Ids are places in a table. A mask is named by its place plus 1, 0 is none. A string is named by
 * its offset in the strings, each of which ends with a NUL.
 */
enum ktstr_table {
	KTSTR_TABLE_STRINGS = 0, /* counted in bytes */
	KTSTR_TABLE_MASKS = 1, /* struct ktstr_cpumask: of CPUs, or of nodes */
	KTSTR_TABLE_CGROUPS = 2,
	KTSTR_TABLE_WORKS = 3,
	KTSTR_TABLE_WORKERS = 4,
	KTSTR_TABLE_PAYLOADS = 5,
	KTSTR_TABLE_OPS = 6
};
#define KTSTR_TABLES 7

/* Flag: enable the cpu controller beside cpuset, so that cgroups share CPUs by weight. */
#define KTSTR_PROGRAM_CPU_CONTROLLER 1
/* Flags: controllers that the program writes to. Unlike cpu it cannot do without them. */
#define KTSTR_PROGRAM_MEMORY_CONTROLLER 2
#define KTSTR_PROGRAM_IO_CONTROLLER 4
#define KTSTR_PROGRAM_PIDS_CONTROLLER 8

struct ktstr_program_header {
	uint32_t magic;
	uint16_t version;
	uint16_t header_bytes;
	uint32_t total_bytes;
	uint32_t flags;
	uint64_t seed;
	uint64_t deadline_ns;
	uint32_t counts[KTSTR_TABLES];
	uint32_t crc; /* CRC-32 of the bytes before this field and of all after it */
};

struct ktstr_cgroup {
	uint32_t name;
	uint32_t cpus; /* mask */
	uint32_t mems; /* mask of nodes */
	uint32_t reserved;
};

/* Numbers of work types are in work_types.def. */
struct ktstr_work {
	uint32_t type;
	int32_t cgroup; /* -1 is the agent's own */
	uint32_t first_worker;
	uint32_t worker_count;
	uint64_t params[KTSTR_MAX_PARAMS];
	uint32_t policy;
	int32_t priority;
	int32_t nice;
	uint32_t affinity; /* mask */
	/* Of KTSTR_POLICY_DEADLINE, else 0. */
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
	uint32_t mem_policy;
	uint32_t mem_flags; /* as set_mempolicy(2) takes them in its mode */
	uint32_t mem_nodes; /* mask of nodes */
	uint32_t flags;
	uint32_t comm; /* string plus 1, 0: the agent's choice */
	uint32_t pcomm; /* likewise, of THREADS; works of one name and cgroup that are spawned together share a process */
};

/*
 * Flags of a work: its workers are threads of one process; they see their cgroup as the root; tell where their memory
 * is.
 */
#define KTSTR_WORK_THREADS 1
#define KTSTR_WORK_CGROUP_NAMESPACE 2
#define KTSTR_WORK_PAGES 4

/* Memory policies: the modes of include/uapi/linux/mempolicy.h. */
enum ktstr_mem_policy {
	KTSTR_MEM_POLICY_DEFAULT = 0,
	KTSTR_MEM_POLICY_PREFERRED = 1,
	KTSTR_MEM_POLICY_BIND = 2,
	KTSTR_MEM_POLICY_INTERLEAVE = 3,
	KTSTR_MEM_POLICY_LOCAL = 4,
	KTSTR_MEM_POLICY_PREFERRED_MANY = 5,
	KTSTR_MEM_POLICY_WEIGHTED_INTERLEAVE = 6
};

/* order: its place among all workers when several are released by one op; each place is taken once. */
struct ktstr_worker {
	uint64_t start_offset_ns; /* its delay after its release */
	uint32_t order;
	uint32_t affinity; /* mask, in place of its work's; 0: that one */
};

/* argv: argc strings that follow each other; env likewise, NAME=VALUE, beside the agent's own. */
struct ktstr_payload {
	uint32_t argv;
	uint32_t argc;
	int32_t cgroup; /* -1 is the agent's own */
	uint32_t affinity; /* mask */
	uint32_t env;
	uint32_t envc;
	uint32_t folder; /* string plus 1: where it starts; 0: as the agent */
	uint32_t policy;
	int32_t priority;
	int32_t nice;
};

enum ktstr_policy {
	KTSTR_POLICY_NORMAL = 0,
	KTSTR_POLICY_BATCH = 1,
	KTSTR_POLICY_IDLE = 2,
	KTSTR_POLICY_FIFO = 3,
	KTSTR_POLICY_RR = 4,
	KTSTR_POLICY_DEADLINE = 5,
	KTSTR_POLICY_EXT = 6
};

/* Of what was made: anywhere, outside of every step, or in the innermost step that is being run. */
enum ktstr_scope {
	KTSTR_SCOPE_ANY = 0,
	KTSTR_SCOPE_BACKDROP = 1,
	KTSTR_SCOPE_STEP = 2
};

/* Workers, or cgroups: all that agree with each part. */
struct ktstr_selector {
	uint32_t scope;
	int32_t cgroup; /* -1 is any */
	int32_t work; /* -1 is any */
	uint32_t first_worker; /* within the work */
	uint32_t worker_count; /* 0 is all of them */
};

enum ktstr_on_error {
	KTSTR_ON_ERROR_FATAL = 0,
	KTSTR_ON_ERROR_RECORD = 1
};

/* Flags of an op: what Write wrote is undone when its scope ends; a Scope is a step. */
#define KTSTR_OP_FLAG_RESTORE 1
#define KTSTR_OP_FLAG_STEP 2

/* Numbers of kinds, and which fields each takes, are in ops.def. */
struct ktstr_op {
	uint16_t kind;
	uint8_t on_error;
	uint8_t flags;
	uint32_t body; /* Scope, Repeat: how many of the ops that follow are inside */
	struct ktstr_selector who;
	uint32_t id; /* of a cgroup, work or payload; the number of a phase */
	uint32_t mask;
	uint32_t path;
	uint32_t text;
	uint32_t count; /* Repeat: passes, 0 is as many as ns allow */
	uint64_t ns; /* a duration, or the longest that is waited */
	uint64_t interval_ns; /* Repeat: between two passes */
	uint64_t jitter_ns; /* Delay: a time below this is added, drawn from the program's seed */
};

_Static_assert(sizeof(struct ktstr_cpumask) == 64, "layout");
_Static_assert(KTSTR_CPUMASK_WORDS * 64 == KTSTR_MAX_CPUS, "mask holds every CPU");
_Static_assert(sizeof(struct ktstr_program_header) == 64, "layout");
_Static_assert(sizeof(struct ktstr_cgroup) == 16, "layout");
_Static_assert(sizeof(struct ktstr_work) == 208, "layout");
_Static_assert(sizeof(struct ktstr_worker) == 16, "layout");
_Static_assert(sizeof(struct ktstr_payload) == 40, "layout");
_Static_assert(sizeof(struct ktstr_selector) == 20, "layout");
_Static_assert(sizeof(struct ktstr_op) == 72, "layout");

#endif
