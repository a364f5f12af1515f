// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest <-> host protocol: the program the agent runs (host to guest, a file in
 * the initrd, a delivery through the port, or a file of fw_cfg) and the frames it sends (guest to host, a
 * virtio port). Little endian, fixed-size integers, explicit padding. This is the only
 * place a layout is written: the agent includes it, and the host reads it with cffi.
 *
 * How the host reads it, which is a rule for whoever edits it: every line that begins
 * with '#' is dropped unless it is "#define NAME INTEGER" (one literal), and every line
 * that begins with "_Static_assert" is dropped. So no macro with arguments, no
 * conditional code, and each assertion on one line.
 *
 * Names on the host follow from the names here: policies and scheduler events are in lower case.
 * Work types and ops are in work_types.def and ops.def.
 */
#ifndef KTSTR_PROTO_H
#define KTSTR_PROTO_H

#include <stdint.h>

#include "ktstr_program.h"
#include "ktstr_report.h"

#define KTSTR_FRAME_MAGIC 0x4652544b
#define KTSTR_DELIVERY_MAGIC 0x4452544b

#define KTSTR_RELEASE_BYTES 72
#define KTSTR_RANDOMNESS_BYTES 64
/* Of a BPF program's or map's name (include/uapi/linux/bpf.h: BPF_OBJ_NAME_LEN). */
#define KTSTR_BPF_NAME_BYTES 16
#define KTSTR_MAX_PAYLOAD 65536
#define KTSTR_MAX_CHANNEL_BYTES 134217728
#define KTSTR_MAX_LOG_BYTES 262144
#define KTSTR_MAX_SCHED_EVENTS 256
#define KTSTR_MAX_ERRORS 256
/* Messages of one kind from ops that may be repeated: what goes beyond is counted only. */
#define KTSTR_MAX_STIMULI 8192
#define KTSTR_MAX_CHECKPOINTS 1024
#define KTSTR_MAX_PROGRESS_TOTAL 1048576
#define KTSTR_MAX_READS 1024
#define KTSTR_MAX_PAYLOAD_EVENTS 1024
#define KTSTR_MAX_DELAYS 4000
#define KTSTR_PROGRESS_PER_FRAME 1000

/*
 * ---- The delivery: this, then the program. ----
 *
 * Sent once, to an agent that said Ready because the kernel's command line holds the word
 * ktstr.wait. Its machine may be a clone of one that had booted: randomness and time are its own.
 * Under QEMU the word is ktstr.park, and the program comes bare, as fw_cfg's opt/ktstr/program.
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
	KTSTR_MSG_READY = 14,
	KTSTR_MSG_CHECKPOINT = 15,
	KTSTR_MSG_READ = 16,
	KTSTR_MSG_PAYLOAD_EVENT = 17,
	KTSTR_MSG_PAYLOAD_LOG = 18,
	KTSTR_MSG_DELAYS = 19,
	KTSTR_MSG_UNPARKED = 20,
	KTSTR_MSG_BEGIN = 21,
	KTSTR_MSG_SCHED_PRINTK = 22,
	KTSTR_MSG_SCHED_REFUSAL = 23,
	KTSTR_MSG_PAGES = 24,
	KTSTR_MSG_SCHED_DUMP = 30,
	KTSTR_MSG_CPU_LISTS = 40,
	KTSTR_MSG_NODE = 41
};

/*
 * SchedLog, SchedKmsg, SchedPrintk, SchedDump and Unparked have no struct: their payload is text. Ready has no payload: the
 * agent waits for its program, having said what needs none (Hello, CpuLists, Cpu, Node, Distances,
 * how its scheduler came to attach). Unparked comes in its place, before End, where the machine cannot be stopped so that
 * clones of it go on: it says why.
 */

/* The scenario begins: every at_ns counts from here. */
struct ktstr_msg_begin {
	uint64_t tsc; /* of whichever CPU the agent was on; counted instructions make it the machine's own clock, in ns */
};

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

/* Empty where sysfs does not say. */
struct ktstr_msg_cpu_lists {
	struct ktstr_cpumask possible;
	struct ktstr_cpumask present;
};

/* A node that is online: it has CPUs, memory, or both. */
struct ktstr_msg_node {
	uint32_t node;
	uint32_t reserved;
	uint64_t memory_kib; /* that is present, whoever has it */
	uint64_t initiators; /* a bit for each node that is nearest to its memory, by HMAT; 0 where nothing says so */
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

/* Then text to the end of the payload. Times are since the first op; before Ready, since the setup's first. */
struct ktstr_msg_sched_event {
	uint64_t at_ns;
	uint32_t kind;
	int32_t code;
};

/* How a loader that failed ended when it was started once more, with its bpf(2) calls traced. */
enum ktstr_retry {
	KTSTR_RETRY_REFUSED = 1, /* the kernel refused the call that is told */
	KTSTR_RETRY_ACCEPTED = 2, /* the kernel refused nothing that mattered */
	KTSTR_RETRY_ATTACHED = 3, /* this time it attached */
	KTSTR_RETRY_TIMED_OUT = 4, /* this time it went on */
	KTSTR_RETRY_UNTRACED = 5 /* it could not be traced: error says why */
};
/* No command of bpf(2). */
#define KTSTR_REFUSED_NOTHING 4294967295

/* Then text to the end of the payload: the end of the call's log, or what was asked for. */
struct ktstr_msg_sched_refusal {
	uint64_t at_ns;
	uint32_t outcome;
	uint32_t command; /* of bpf(2), or KTSTR_REFUSED_NOTHING */
	int32_t error; /* the call's, positive */
	uint32_t calls; /* of bpf(2) */
	uint32_t alike; /* whether it ended as it had the first time */
	uint32_t reserved;
	char name[KTSTR_BPF_NAME_BYTES]; /* of the program or map */
};

/*
 * Then text to the end of the payload. In a Repeat an op is told in the first pass only; when the
 * block ends it is told once more itself, with iteration as the number of its passes.
 */
struct ktstr_msg_stimulus {
	uint64_t at_ns;
	uint64_t total_iterations;
	uint32_t kind;
	uint32_t op; /* its place among the ops */
	uint32_t scope; /* 0 outside of every Scope, else the place of the innermost one, plus 1 */
	uint32_t iteration;
};

/* Then text to the end of the payload. An op that records its errors does not end the run. */
struct ktstr_msg_error {
	int32_t op; /* -1 for what no op did */
	uint32_t recorded;
};

/* Then text to the end of the payload: what the file held, cut at KTSTR_MAX_TEXT_BYTES. */
struct ktstr_msg_read {
	uint64_t at_ns;
	uint32_t op;
	uint32_t bytes; /* of the whole file */
};

/* How far one worker came since the checkpoint before, or since its release. */
struct ktstr_progress {
	uint32_t worker;
	uint32_t spawn; /* how often it had been spawned before */
	uint64_t iterations;
	uint64_t work_units;
	uint64_t cpu_time_ns;
	uint64_t migrations;
	uint64_t wakes;
	uint64_t max_gap_ns; /* the largest that ended since then */
};

/* Then count times struct ktstr_progress; one checkpoint may take several frames. */
struct ktstr_msg_checkpoint {
	uint64_t at_ns;
	uint32_t phase;
	uint32_t op;
	uint32_t count;
	uint32_t reserved;
};

enum ktstr_payload_event {
	KTSTR_PAYLOAD_STARTED = 1,
	KTSTR_PAYLOAD_SPAWN_FAILED = 2,
	KTSTR_PAYLOAD_EXITED = 3,
	KTSTR_PAYLOAD_SIGNALED = 4,
	KTSTR_PAYLOAD_KILLED = 5, /* by the program */
	KTSTR_PAYLOAD_TIMED_OUT = 6 /* a Wait that ended without it */
};

struct ktstr_msg_payload_event {
	uint64_t at_ns;
	uint32_t payload;
	uint32_t kind;
	int32_t code; /* exit status, signal or errno */
	uint32_t reserved;
};

enum ktstr_stream {
	KTSTR_STREAM_STDOUT = 1,
	KTSTR_STREAM_STDERR = 2
};

/* Then text to the end of the payload. */
struct ktstr_msg_payload_log {
	uint32_t payload;
	uint32_t stream;
};

/* What one Delay drew. */
struct ktstr_delay {
	uint32_t op;
	uint32_t reserved;
	uint64_t ns;
};

/* Then count times struct ktstr_delay; seen: how many were drawn. */
struct ktstr_msg_delays {
	uint32_t count;
	uint32_t seen;
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

_Static_assert(sizeof(struct ktstr_delivery) == 88, "layout; a multiple of 8 keeps the program aligned");
_Static_assert(sizeof(struct ktstr_frame_header) == 20, "layout");
_Static_assert(sizeof(struct ktstr_msg_hello) == 80, "layout");
_Static_assert(sizeof(struct ktstr_msg_cpu) == 144, "layout");
_Static_assert(sizeof(struct ktstr_msg_distances) == 264, "layout");
_Static_assert(sizeof(struct ktstr_msg_cpu_lists) == 128, "layout");
_Static_assert(sizeof(struct ktstr_msg_node) == 24, "layout");
_Static_assert(sizeof(struct ktstr_msg_sched_event) == 16, "layout");
_Static_assert(sizeof(struct ktstr_msg_sched_refusal) == 48, "layout");
_Static_assert(sizeof(struct ktstr_msg_stimulus) == 32, "layout");
_Static_assert(sizeof(struct ktstr_msg_error) == 8, "layout");
_Static_assert(sizeof(struct ktstr_msg_read) == 16, "layout");
_Static_assert(sizeof(struct ktstr_progress) == 56, "layout");
_Static_assert(sizeof(struct ktstr_msg_checkpoint) == 24, "layout");
_Static_assert(sizeof(struct ktstr_msg_payload_event) == 24, "layout");
_Static_assert(sizeof(struct ktstr_msg_payload_log) == 8, "layout");
_Static_assert(sizeof(struct ktstr_delay) == 16, "layout");
_Static_assert(sizeof(struct ktstr_msg_delays) == 8, "layout");
_Static_assert(sizeof(struct ktstr_msg_vcpu) == 32, "layout");
_Static_assert(sizeof(struct ktstr_msg_end) == 16, "layout");

#endif
