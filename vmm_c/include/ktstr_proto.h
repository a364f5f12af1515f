// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest <-> host protocol: the program the agent runs (host to guest, a file in
 * the initrd or a delivery through the port) and the frames it sends (guest to host, a
 * virtio port). Little endian, fixed-size integers, explicit padding. This is the only
 * place a layout is written: the agent includes it, and the host reads it with cffi.
 *
 * How the host reads it, which is a rule for whoever edits it: every line that begins
 * with '#' is dropped unless it is "#define NAME INTEGER" (one literal), and every line
 * that begins with "_Static_assert" is dropped. So no macro with arguments, no
 * conditional code, and each assertion on one line.
 *
 * Names on the host follow from the names here: KTSTR_WORK_SPIN_WAIT is "SpinWait",
 * KTSTR_OP_ADD_CGROUP is "AddCgroup"; policies and scheduler events are in lower case.
 */
#ifndef KTSTR_PROTO_H
#define KTSTR_PROTO_H

#include <stdint.h>

#define KTSTR_PROTO_VERSION 1
#define KTSTR_PROGRAM_MAGIC 0x5052544b
#define KTSTR_FRAME_MAGIC 0x4652544b
#define KTSTR_DELIVERY_MAGIC 0x4452544b

/* Limits. What is outside them is refused by whoever reads it. */
#define KTSTR_MAX_CPUS 512
#define KTSTR_CPUMASK_WORDS 8
#define KTSTR_MAX_NODES 64
#define KTSTR_MAX_OPS 8192
#define KTSTR_MAX_CGROUPS 256
#define KTSTR_MAX_WORKERS 4096
#define KTSTR_MAX_PARAMS 4
#define KTSTR_MAX_ARGS 64
#define KTSTR_MAX_ARG_BYTES 8192
#define KTSTR_MAX_PROGRAM_BYTES 4194304
#define KTSTR_CGROUP_NAME_BYTES 128
#define KTSTR_RELEASE_BYTES 72
#define KTSTR_RANDOMNESS_BYTES 64
/* One day: the longest time any field of a program may ask for. */
#define KTSTR_MAX_NS 86400000000000

#define KTSTR_MAX_PAYLOAD 65536
#define KTSTR_MAX_CHANNEL_BYTES 134217728
#define KTSTR_MAX_TEXT_BYTES 4096
#define KTSTR_MAX_LOG_BYTES 262144
#define KTSTR_MAX_SCHED_EVENTS 256
#define KTSTR_MAX_ERRORS 256
/* Wake-latency samples kept for one worker, and for all of them together. */
#define KTSTR_MAX_SAMPLES 100000
#define KTSTR_MAX_SAMPLES_TOTAL 4000000
#define KTSTR_MAX_MIGRATIONS 4096
#define KTSTR_MAX_MIGRATIONS_TOTAL 1048576
/* How many records fit one frame with room to spare. */
#define KTSTR_SAMPLES_PER_FRAME 8000
#define KTSTR_MIGRATIONS_PER_FRAME 4000

struct ktstr_cpumask {
	uint64_t bits[KTSTR_CPUMASK_WORDS];
};

/* ---- The program: one header, then op_count ops, each a header and its payload. ---- */

/* Flag: enable the cpu controller beside cpuset, so that cgroups share CPUs by weight. */
#define KTSTR_PROGRAM_CPU_CONTROLLER 1

struct ktstr_program_header {
	uint32_t magic;
	uint16_t version;
	uint16_t header_bytes;
	uint32_t total_bytes;
	uint32_t op_count;
	uint64_t seed;
	uint64_t deadline_ns;
	uint32_t flags;
	uint32_t crc; /* CRC-32 of the bytes before this field and of all after it */
};

struct ktstr_op_header {
	uint16_t kind;
	uint16_t reserved;
	uint32_t bytes; /* of the payload that follows; a multiple of 8 */
};

enum ktstr_op {
	KTSTR_OP_START_SCHEDULER = 1,
	KTSTR_OP_STOP_SCHEDULER = 2,
	KTSTR_OP_ADD_CGROUP = 3,
	KTSTR_OP_SPAWN = 4,
	KTSTR_OP_RELEASE = 5,
	KTSTR_OP_HOLD = 6,
	KTSTR_OP_DELAY = 7,
	KTSTR_OP_STOP_WORKERS = 8,
	KTSTR_OP_REMOVE_CGROUPS = 9
};

enum ktstr_work {
	KTSTR_WORK_SPIN_WAIT = 1,
	KTSTR_WORK_YIELD_HEAVY = 2,
	KTSTR_WORK_MIXED = 3,
	KTSTR_WORK_BURSTY = 4,
	KTSTR_WORK_PIPE_IO = 5,
	KTSTR_WORK_FUTEX_PING_PONG = 6,
	KTSTR_WORK_FORK_EXIT = 7
};

enum ktstr_policy {
	KTSTR_POLICY_NORMAL = 0,
	KTSTR_POLICY_BATCH = 1,
	KTSTR_POLICY_IDLE = 2,
	KTSTR_POLICY_FIFO = 3,
	KTSTR_POLICY_RR = 4
};

/* StartScheduler; then argv as NUL-terminated strings, padded with NULs to 8 bytes. */
struct ktstr_op_start_scheduler {
	uint64_t attach_timeout_ns;
	uint32_t argc;
	uint32_t argv_bytes;
};

/* StopScheduler, StopWorkers (timeout), Hold, Delay (duration). RemoveCgroups has no payload. */
struct ktstr_op_time {
	uint64_t ns;
};

struct ktstr_op_add_cgroup {
	char name[KTSTR_CGROUP_NAME_BYTES];
	uint32_t has_cpus;
	uint32_t reserved;
	struct ktstr_cpumask cpus;
};

/* Spawn; then worker_count times uint64_t: the worker's delay after its release, in ns. */
struct ktstr_op_spawn {
	int32_t cgroup; /* in order of AddCgroup; -1 is the agent's own */
	uint32_t work_index;
	uint32_t work_type;
	uint32_t worker_count;
	uint64_t params[KTSTR_MAX_PARAMS];
	uint32_t policy;
	int32_t priority;
	int32_t nice;
	uint32_t has_affinity;
	struct ktstr_cpumask affinity;
};

/* Release; then count times uint32_t worker index, padded with zeros to 8 bytes. */
struct ktstr_op_release {
	uint32_t count;
	uint32_t reserved;
};

/*
 * ---- The delivery: this, then the program. ----
 *
 * Sent once, to an agent that said Ready because the kernel's command line holds the word
 * ktstr.wait. Its machine may be a clone of one that had booted: randomness and time are its own.
 */
struct ktstr_delivery {
	uint32_t magic;
	uint16_t version;
	uint16_t header_bytes;
	uint32_t total_bytes; /* program included */
	uint32_t crc; /* CRC-32 of the bytes before this field and of all after it */
	uint64_t realtime_ns; /* CLOCK_REALTIME */
	uint8_t randomness[KTSTR_RANDOMNESS_BYTES];
};

/* ---- Frames: a header and its payload. ---- */

struct ktstr_frame_header {
	uint32_t magic;
	uint16_t type;
	uint16_t reserved;
	uint32_t seq; /* from 0, by one */
	uint32_t bytes; /* of the payload, at most KTSTR_MAX_PAYLOAD */
	uint32_t crc; /* CRC-32 of the bytes before this field and of the payload */
};

enum ktstr_msg {
	KTSTR_MSG_HELLO = 1,
	KTSTR_MSG_CPU = 2,
	KTSTR_MSG_DISTANCES = 3,
	KTSTR_MSG_SCHED_EVENT = 4,
	KTSTR_MSG_SCHED_LOG = 5,
	KTSTR_MSG_SCHED_KMSG = 6,
	KTSTR_MSG_STIMULUS = 7,
	KTSTR_MSG_WORKER = 8,
	KTSTR_MSG_MIGRATIONS = 9,
	KTSTR_MSG_SAMPLES = 10,
	KTSTR_MSG_VCPU = 11,
	KTSTR_MSG_ERROR = 12,
	KTSTR_MSG_END = 13,
	KTSTR_MSG_READY = 14
};

/*
 * SchedLog, SchedKmsg and Error have no struct: their payload is text. Ready has no payload: the
 * agent waits for its delivery, having said what needs no program (Hello, Cpu, Distances).
 */

struct ktstr_msg_hello {
	uint32_t version;
	uint32_t cpus; /* online */
	char kernel_release[KTSTR_RELEASE_BYTES];
};

struct ktstr_msg_cpu {
	uint32_t cpu;
	int32_t node;
	int32_t package;
	uint32_t reserved;
	struct ktstr_cpumask llc; /* empty when sysfs shows no cache */
	struct ktstr_cpumask smt;
};

/* One row of the node distance matrix, by node number. */
struct ktstr_msg_distances {
	uint32_t node;
	uint32_t count;
	uint32_t distance[KTSTR_MAX_NODES];
};

enum ktstr_sched {
	KTSTR_SCHED_STARTED = 1,
	KTSTR_SCHED_SPAWN_FAILED = 2,
	KTSTR_SCHED_ATTACHED = 3,
	KTSTR_SCHED_ATTACH_TIMEOUT = 4,
	KTSTR_SCHED_EXITED = 5,
	KTSTR_SCHED_SIGNALED = 6,
	KTSTR_SCHED_EVICTED = 7,
	KTSTR_SCHED_DETACHED = 8,
	KTSTR_SCHED_DETACH_FAILED = 9
};

/* Then text to the end of the payload. Times are since the first op. */
struct ktstr_msg_sched_event {
	uint64_t at_ns;
	uint32_t kind;
	int32_t code;
};

/* Then text to the end of the payload. */
struct ktstr_msg_stimulus {
	uint64_t at_ns;
	uint64_t total_iterations;
	uint32_t op;
	uint32_t reserved;
};

enum ktstr_exit {
	KTSTR_EXIT_NONE = 0,
	KTSTR_EXIT_EXITED = 1,
	KTSTR_EXIT_SIGNALED = 2,
	KTSTR_EXIT_TIMED_OUT = 3,
	KTSTR_EXIT_WAIT_FAILED = 4
};

/*
 * One worker's report. A worker that did not end by itself leaves what it had written at its
 * last checkpoint, with completed 0 and an exit kind.
 */
struct ktstr_msg_worker {
	uint32_t index;
	uint32_t work_index;
	int32_t cgroup;
	int32_t tid;
	uint64_t work_units;
	uint64_t iterations;
	uint64_t cpu_time_ns;
	uint64_t wall_time_ns;
	uint64_t migration_count;
	uint64_t max_gap_ns;
	uint64_t max_gap_at_ns;
	uint64_t max_gap_off_cpu_ns;
	uint64_t max_stall_ns;
	uint64_t wake_sample_total;
	uint64_t schedstat_cpu_time_ns;
	uint64_t schedstat_run_delay_ns;
	uint64_t schedstat_run_count;
	struct ktstr_cpumask cpus_used;
	uint32_t max_gap_cpu;
	uint32_t max_stall_cpu;
	uint32_t migrations_stored;
	uint32_t samples_stored;
	uint32_t has_schedstat;
	uint32_t completed;
	uint32_t exit_kind;
	int32_t exit_code; /* status, signal or errno */
};

struct ktstr_migration {
	uint64_t at_ns;
	uint32_t from_cpu;
	uint32_t to_cpu;
};

/* Then count times struct ktstr_migration; several frames may follow one worker. */
struct ktstr_msg_migrations {
	uint32_t worker;
	uint32_t count;
};

/* Then count times uint64_t ns; several frames may follow one worker. */
struct ktstr_msg_samples {
	uint32_t worker;
	uint32_t count;
};

struct ktstr_msg_vcpu {
	uint32_t cpu;
	uint32_t reserved;
	uint64_t run_ns;
	uint64_t run_delay_ns;
	uint64_t timeslices;
};

enum ktstr_end {
	KTSTR_END_OK = 0,
	KTSTR_END_ERROR = 1, /* an Error message says what */
	KTSTR_END_SCHED_LOST = 2, /* a scheduler event says how; the scenario was cut short */
	KTSTR_END_DEADLINE = 3
};

struct ktstr_msg_end {
	uint64_t at_ns;
	uint32_t status;
	uint32_t reserved;
};

_Static_assert(sizeof(struct ktstr_cpumask) == 64, "layout");
_Static_assert(KTSTR_CPUMASK_WORDS * 64 == KTSTR_MAX_CPUS, "mask holds every CPU");
_Static_assert(sizeof(struct ktstr_program_header) == 40, "layout");
_Static_assert(sizeof(struct ktstr_op_header) == 8, "layout");
_Static_assert(sizeof(struct ktstr_op_start_scheduler) == 16, "layout");
_Static_assert(sizeof(struct ktstr_op_time) == 8, "layout");
_Static_assert(sizeof(struct ktstr_op_add_cgroup) == 200, "layout");
_Static_assert(sizeof(struct ktstr_op_spawn) == 128, "layout");
_Static_assert(sizeof(struct ktstr_op_release) == 8, "layout");
_Static_assert(sizeof(struct ktstr_delivery) == 88, "layout; a multiple of 8 keeps the program aligned");
_Static_assert(sizeof(struct ktstr_frame_header) == 20, "layout");
_Static_assert(sizeof(struct ktstr_msg_hello) == 80, "layout");
_Static_assert(sizeof(struct ktstr_msg_cpu) == 144, "layout");
_Static_assert(sizeof(struct ktstr_msg_distances) == 264, "layout");
_Static_assert(sizeof(struct ktstr_msg_sched_event) == 16, "layout");
_Static_assert(sizeof(struct ktstr_msg_stimulus) == 24, "layout");
_Static_assert(sizeof(struct ktstr_msg_worker) == 216, "layout");
_Static_assert(sizeof(struct ktstr_migration) == 16, "layout");
_Static_assert(sizeof(struct ktstr_msg_migrations) == 8, "layout");
_Static_assert(sizeof(struct ktstr_msg_samples) == 8, "layout");
_Static_assert(sizeof(struct ktstr_msg_vcpu) == 32, "layout");
_Static_assert(sizeof(struct ktstr_msg_end) == 16, "layout");

#endif
