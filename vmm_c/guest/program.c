// SPDX-License-Identifier: GPL-2.0-only
/* The program parser: the one border that every byte of a program crosses. */
#include "program.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpulist.h"
#include "crc32.h"

/* What the ops seen so far have made, for checks that span ops. */
struct scan {
	uint32_t cgroups;
	uint32_t workers;
	uint32_t released;
	bool scheduler;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct scan *scan, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(scan->why, scan->why_size, format, args);
	va_end(args);
	return false;
}

static uint64_t round_up_8(uint64_t bytes)
{
	return (bytes + 7) & ~UINT64_C(7);
}

uint32_t work_group_size(uint32_t work_type)
{
	switch (work_type) {
	case KTSTR_WORK_SPIN_WAIT:
	case KTSTR_WORK_YIELD_HEAVY:
	case KTSTR_WORK_MIXED:
	case KTSTR_WORK_BURSTY:
	case KTSTR_WORK_FORK_EXIT:
		return 1;
	case KTSTR_WORK_PIPE_IO:
	case KTSTR_WORK_FUTEX_PING_PONG:
		return 2;
	default:
		return 0;
	}
}

uint32_t work_param_count(uint32_t work_type)
{
	switch (work_type) {
	case KTSTR_WORK_BURSTY: /* burst ns, sleep ns */
		return 2;
	case KTSTR_WORK_PIPE_IO: /* spins a turn */
	case KTSTR_WORK_FUTEX_PING_PONG:
		return 1;
	default:
		return 0;
	}
}

static bool check_ns(struct scan *scan, const char *what, uint64_t ns)
{
	if (ns > KTSTR_MAX_NS)
		return refuse(scan, "%s of %llu ns, at most %llu", what, (unsigned long long)ns,
			      (unsigned long long)KTSTR_MAX_NS);
	return true;
}

static bool check_start_scheduler(struct scan *scan, const void *payload, uint32_t bytes)
{
	const struct ktstr_op_start_scheduler *op = payload;
	const char *text = (const char *)(op + 1);
	uint32_t strings = 0;

	if (bytes < sizeof(*op) || op->argv_bytes > KTSTR_MAX_ARG_BYTES ||
	    bytes != sizeof(*op) + round_up_8(op->argv_bytes))
		return refuse(scan, "StartScheduler payload of %u bytes does not hold its arguments", bytes);
	if (scan->scheduler)
		return refuse(scan, "a second StartScheduler before a StopScheduler");
	if (op->argc == 0 || op->argc > KTSTR_MAX_ARGS)
		return refuse(scan, "StartScheduler with %u arguments, 1 to %u", op->argc, KTSTR_MAX_ARGS);
	for (uint32_t i = 0; i < op->argv_bytes; i++)
		strings += text[i] == '\0';
	if (strings != op->argc || text[op->argv_bytes - 1] != '\0' || text[0] == '\0')
		return refuse(scan, "StartScheduler arguments are not %u terminated strings", op->argc);
	scan->scheduler = true;
	return check_ns(scan, "attach timeout", op->attach_timeout_ns);
}

static bool check_time(struct scan *scan, const char *what, const void *payload, uint32_t bytes)
{
	const struct ktstr_op_time *op = payload;

	if (bytes != sizeof(*op))
		return refuse(scan, "%s payload of %u bytes, expected %zu", what, bytes, sizeof(*op));
	return check_ns(scan, what, op->ns);
}

/* A relative path whose parts are plain names: nothing that climbs out of the scenario's cgroup. */
static bool plain_path(const char *name)
{
	const char *part = name;

	for (const char *p = name;; p++) {
		if (*p == '/' || *p == '\0') {
			size_t length = (size_t)(p - part);

			if (length == 0 || part[0] == '.' || length > 64)
				return false;
			part = p + 1;
		} else if ((unsigned char)*p <= ' ' || *p == '\x7f') {
			return false;
		}
		if (*p == '\0')
			return true;
	}
}

static bool check_add_cgroup(struct scan *scan, const void *payload, uint32_t bytes)
{
	const struct ktstr_op_add_cgroup *op = payload;

	if (bytes != sizeof(*op))
		return refuse(scan, "AddCgroup payload of %u bytes, expected %zu", bytes, sizeof(*op));
	if (memchr(op->name, '\0', sizeof(op->name)) == NULL || !plain_path(op->name))
		return refuse(scan, "AddCgroup name is not a plain relative path");
	if (op->has_cpus > 1 || (op->has_cpus && cpumask_empty(&op->cpus)))
		return refuse(scan, "AddCgroup %s has an empty cpuset", op->name);
	if (++scan->cgroups > KTSTR_MAX_CGROUPS)
		return refuse(scan, "more than %u cgroups", KTSTR_MAX_CGROUPS);
	return true;
}

static bool check_policy(struct scan *scan, const struct ktstr_op_spawn *op)
{
	bool realtime = op->policy == KTSTR_POLICY_FIFO || op->policy == KTSTR_POLICY_RR;

	if (op->policy > KTSTR_POLICY_RR)
		return refuse(scan, "Spawn with unknown policy %u", op->policy);
	/* 99 is the agent's own: a worker there could keep it from ever running. */
	if (realtime ? op->priority < 1 || op->priority > 98 : op->priority != 0)
		return refuse(scan, "Spawn with priority %d under policy %u", op->priority, op->policy);
	if (op->nice < -20 || op->nice > 19)
		return refuse(scan, "Spawn with nice %d, -20 to 19", op->nice);
	return true;
}

static bool check_params(struct scan *scan, const struct ktstr_op_spawn *op)
{
	uint32_t used = work_param_count(op->work_type);

	for (uint32_t i = 0; i < KTSTR_MAX_PARAMS; i++)
		if (i < used ? op->params[i] > KTSTR_MAX_NS : op->params[i] != 0)
			return refuse(scan, "Spawn of %s with parameter %u out of bounds",
				      work_name(op->work_type), i);
	return true;
}

static bool check_spawn(struct scan *scan, const void *payload, uint32_t bytes)
{
	const struct ktstr_op_spawn *op = payload;
	uint32_t group;

	if (bytes < sizeof(*op) || op->worker_count > KTSTR_MAX_WORKERS ||
	    bytes != sizeof(*op) + sizeof(uint64_t) * op->worker_count)
		return refuse(scan, "Spawn payload of %u bytes does not hold its workers", bytes);
	if (op->cgroup < -1 || op->cgroup >= (int32_t)scan->cgroups)
		return refuse(scan, "Spawn into cgroup %d of %u", op->cgroup, scan->cgroups);
	group = work_group_size(op->work_type);
	if (group == 0)
		return refuse(scan, "Spawn with unknown work type %u", op->work_type);
	if (op->worker_count == 0 || op->worker_count % group)
		return refuse(scan, "Spawn of %u %s workers, expected a multiple of %u", op->worker_count,
			      work_name(op->work_type), group);
	if (op->has_affinity > 1 || (op->has_affinity && cpumask_empty(&op->affinity)))
		return refuse(scan, "Spawn with an empty affinity");
	for (uint32_t i = 0; i < op->worker_count; i++)
		if (!check_ns(scan, "start offset", op_spawn_offsets(op)[i]))
			return false;
	scan->workers += op->worker_count;
	if (scan->workers > KTSTR_MAX_WORKERS)
		return refuse(scan, "more than %u workers", KTSTR_MAX_WORKERS);
	return check_policy(scan, op) && check_params(scan, op);
}

static bool check_release(struct scan *scan, const void *payload, uint32_t bytes)
{
	const struct ktstr_op_release *op = payload;
	uint8_t seen[KTSTR_MAX_WORKERS] = { 0 };

	if (bytes < sizeof(*op) || op->count > KTSTR_MAX_WORKERS ||
	    bytes != sizeof(*op) + round_up_8(sizeof(uint32_t) * op->count))
		return refuse(scan, "Release payload of %u bytes does not hold its order", bytes);
	if (op->count != scan->workers - scan->released)
		return refuse(scan, "Release of %u workers, expected the %u that are blocked", op->count,
			      scan->workers - scan->released);
	for (uint32_t i = 0; i < op->count; i++) {
		uint32_t worker = op_release_order(op)[i];

		if (worker < scan->released || worker >= scan->workers || seen[worker]++)
			return refuse(scan, "Release names worker %u, which is not blocked", worker);
	}
	scan->released = scan->workers;
	return true;
}

static bool check_op(struct scan *scan, uint32_t kind, const void *payload, uint32_t bytes)
{
	switch (kind) {
	case KTSTR_OP_START_SCHEDULER:
		return check_start_scheduler(scan, payload, bytes);
	case KTSTR_OP_STOP_SCHEDULER:
		scan->scheduler = false;
		return check_time(scan, op_name(kind), payload, bytes);
	case KTSTR_OP_ADD_CGROUP:
		return check_add_cgroup(scan, payload, bytes);
	case KTSTR_OP_SPAWN:
		return check_spawn(scan, payload, bytes);
	case KTSTR_OP_RELEASE:
		return check_release(scan, payload, bytes);
	case KTSTR_OP_STOP_WORKERS:
		scan->released = scan->workers; /* it ends the blocked ones too */
		return check_time(scan, op_name(kind), payload, bytes);
	case KTSTR_OP_HOLD:
	case KTSTR_OP_DELAY:
		return check_time(scan, op_name(kind), payload, bytes);
	case KTSTR_OP_REMOVE_CGROUPS:
		return bytes == 0 || refuse(scan, "RemoveCgroups with a payload of %u bytes", bytes);
	default:
		return refuse(scan, "unknown op %u", kind);
	}
}

static bool check_header(struct scan *scan, const void *data, size_t bytes)
{
	const struct ktstr_program_header *header = data;
	uint32_t crc;

	if ((uintptr_t)data % 8)
		return refuse(scan, "program is not aligned");
	if (bytes < sizeof(*header) || bytes > KTSTR_MAX_PROGRAM_BYTES)
		return refuse(scan, "program of %zu bytes, %zu to %u", bytes, sizeof(*header),
			      KTSTR_MAX_PROGRAM_BYTES);
	if (header->magic != KTSTR_PROGRAM_MAGIC)
		return refuse(scan, "program magic is %#x, expected %#x", header->magic, KTSTR_PROGRAM_MAGIC);
	if (header->version != KTSTR_PROTO_VERSION || header->header_bytes != sizeof(*header))
		return refuse(scan, "program version %u, this agent speaks %u", header->version,
			      KTSTR_PROTO_VERSION);
	if (header->total_bytes != bytes)
		return refuse(scan, "program of %zu bytes says it has %u", bytes, header->total_bytes);
	crc = crc32_update(0, header, offsetof(struct ktstr_program_header, crc));
	crc = crc32_update(crc, header + 1, bytes - sizeof(*header));
	if (crc != header->crc)
		return refuse(scan, "program checksum is %#x, expected %#x", crc, header->crc);
	if (header->op_count > KTSTR_MAX_OPS)
		return refuse(scan, "program of %u ops, at most %u", header->op_count, KTSTR_MAX_OPS);
	if (header->flags & ~(uint32_t)KTSTR_PROGRAM_CPU_CONTROLLER)
		return refuse(scan, "program flags %#x hold unknown ones", header->flags);
	return check_ns(scan, "deadline", header->deadline_ns);
}

bool program_open(const void *data, size_t bytes, struct program *ret, char *why, size_t why_size)
{
	struct scan scan = { .why = why, .why_size = why_size };
	struct program program = { .data = data, .header = data };
	size_t at = sizeof(*program.header);

	if (!check_header(&scan, data, bytes))
		return false;
	for (uint32_t i = 0; i < program.header->op_count; i++) {
		struct ktstr_op_header op;

		if (bytes - at < sizeof(op))
			return refuse(&scan, "program ends inside the header of op %u", i);
		memcpy(&op, program.data + at, sizeof(op));
		at += sizeof(op);
		if (op.bytes % 8 || op.bytes > bytes - at)
			return refuse(&scan, "op %u says %u bytes, %zu are left", i, op.bytes, bytes - at);
		if (!check_op(&scan, op.kind, program.data + at, op.bytes))
			return false;
		at += op.bytes;
	}
	if (at != bytes)
		return refuse(&scan, "program has %zu bytes after its last op", bytes - at);
	program.worker_total = scan.workers;
	*ret = program;
	return true;
}

bool program_next(const struct program *program, size_t *at, struct program_op *ret)
{
	size_t offset = *at ? *at : sizeof(*program->header);
	const struct ktstr_op_header *op = (const void *)(program->data + offset);

	if (offset >= program->header->total_bytes)
		return false;
	ret->kind = op->kind;
	ret->payload = op + 1;
	ret->bytes = op->bytes;
	*at = offset + sizeof(*op) + op->bytes;
	return true;
}

const uint64_t *op_spawn_offsets(const struct ktstr_op_spawn *op)
{
	return (const uint64_t *)(op + 1);
}

const uint32_t *op_release_order(const struct ktstr_op_release *op)
{
	return (const uint32_t *)(op + 1);
}

void op_scheduler_argv(const struct ktstr_op_start_scheduler *op, const char **argv)
{
	const char *text = (const char *)(op + 1);

	for (uint32_t i = 0; i < op->argc; i++) {
		argv[i] = text;
		text += strlen(text) + 1;
	}
	argv[op->argc] = NULL;
}

const char *op_name(uint32_t kind)
{
	static const char *const names[] = {
		[KTSTR_OP_START_SCHEDULER] = "StartScheduler", [KTSTR_OP_STOP_SCHEDULER] = "StopScheduler",
		[KTSTR_OP_ADD_CGROUP] = "AddCgroup",	       [KTSTR_OP_SPAWN] = "Spawn",
		[KTSTR_OP_RELEASE] = "Release",		       [KTSTR_OP_HOLD] = "Hold",
		[KTSTR_OP_DELAY] = "Delay",		       [KTSTR_OP_STOP_WORKERS] = "StopWorkers",
		[KTSTR_OP_REMOVE_CGROUPS] = "RemoveCgroups",
	};

	return kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind] : "unknown";
}

const char *work_name(uint32_t work_type)
{
	static const char *const names[] = {
		[KTSTR_WORK_SPIN_WAIT] = "SpinWait", [KTSTR_WORK_YIELD_HEAVY] = "YieldHeavy",
		[KTSTR_WORK_MIXED] = "Mixed",	     [KTSTR_WORK_BURSTY] = "Bursty",
		[KTSTR_WORK_PIPE_IO] = "PipeIo",     [KTSTR_WORK_FUTEX_PING_PONG] = "FutexPingPong",
		[KTSTR_WORK_FORK_EXIT] = "ForkExit",
	};

	return work_type < sizeof(names) / sizeof(names[0]) && names[work_type] ? names[work_type] : "unknown";
}
