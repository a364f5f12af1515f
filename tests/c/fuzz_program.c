// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz target of the program parser, and of the delivery that may bring a program. The checksum is
 * made right first, so that what lies behind it is reached; a program that is accepted is then
 * walked as the agent would, every byte touched.
 *
 * With clang, link it with -fsanitize=fuzzer. Without, define FUZZ_STANDALONE: then each argument
 * after the first is a program file, and the first says how many mutations of them to try.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op.h"
#include "ops/verify.h"
#include "wire/crc32.h"
#include "wire/delivery.h"
#include "work/work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static volatile uint64_t touched;

static void touch(const void *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		touched += ((const uint8_t *)data)[i];
}

static void touch_string(const struct program *program, uint32_t at)
{
	touch(program_string(program, at), strlen(program_string(program, at)) + 1);
}

static void touch_mask(const struct program *program, uint32_t mask)
{
	if (mask)
		touch(program_mask(program, mask), sizeof(struct ktstr_cpumask));
}

static void touch_name(const struct program *program, uint32_t at)
{
	if (at)
		touch_string(program, at - 1);
	require(!at || strlen(program_string(program, at - 1)) <= KTSTR_MAX_TEXT_BYTES);
}

static void touch_strings(const struct program *program, uint32_t at, uint32_t strings)
{
	for (uint32_t i = 0; i < strings; i++) {
		touch_string(program, at);
		at += (uint32_t)strlen(program_string(program, at)) + 1;
	}
}

static void walk_works(const struct program *program)
{
	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_WORKS); i++) {
		const struct ktstr_work *work = &program->works[i];
		uint32_t wrong;

		require(work_type(work->type) && work->worker_count % work_group(work) == 0);
		require(work->cgroup >= -1 && work->cgroup < (int32_t)program_count(program, KTSTR_TABLE_CGROUPS));
		require(work_params_fit(work->type, work->params, &wrong));
		touch(&program->workers[work->first_worker], work->worker_count * sizeof(struct ktstr_worker));
		touch_mask(program, work->affinity);
		touch_mask(program, work->mem_nodes);
		touch_name(program, work->comm);
		touch_name(program, work->pcomm);
		require(work->runtime_ns <= work->deadline_ns && work->deadline_ns <= work->period_ns);
		for (uint32_t k = 0; k < work->worker_count; k++)
			touch_mask(program, program->workers[work->first_worker + k].affinity);
	}
}

static void walk_tables(const struct program *program)
{
	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_CGROUPS); i++) {
		const char *name = program_string(program, program->cgroups[i].name);

		require(strlen(name) < KTSTR_CGROUP_NAME_BYTES && !strstr(name, ".."));
		touch_mask(program, program->cgroups[i].cpus);
		touch_mask(program, program->cgroups[i].mems);
	}
	walk_works(program);
	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_PAYLOADS); i++) {
		const struct ktstr_payload *payload = &program->payloads[i];

		touch_strings(program, payload->argv, payload->argc);
		touch_strings(program, payload->env, payload->envc);
		touch_name(program, payload->folder);
		touch_mask(program, payload->affinity);
	}
}

static void walk_fields(const struct program *program, const struct ktstr_op *op)
{
	const struct op_type *type = op_type(op->kind);
	char detail[KTSTR_MAX_TEXT_BYTES];

	if (type->fields & (OP_PATH | OP_FILE))
		touch_string(program, op->path);
	if (type->fields & OP_TEXT)
		touch_string(program, op->text);
	touch_mask(program, op->mask);
	require(op->ns <= KTSTR_MAX_NS && op->interval_ns <= KTSTR_MAX_NS && op->jitter_ns <= KTSTR_MAX_NS);
	if (type->ops->describe)
		type->ops->describe(program, op, detail, sizeof(detail));
	require(type->ops->run || type->fields & OP_BODY);
}

/* As the agent runs them, each once. Gives how many. */
static uint32_t walk_ops(const struct program *program, uint32_t from, uint32_t to, uint32_t depth)
{
	uint32_t ops = 0;

	require(depth <= KTSTR_MAX_DEPTH && to <= program_count(program, KTSTR_TABLE_OPS));
	for (uint32_t i = from; i < to; i += 1 + program->ops[i].body) {
		walk_fields(program, &program->ops[i]);
		if (op_type(program->ops[i].kind)->fields & OP_BODY)
			ops += walk_ops(program, i + 1, i + 1 + program->ops[i].body, depth + 1);
		ops++;
	}
	return ops;
}

static uint32_t walk(const struct program *program)
{
	uint32_t count = program_count(program, KTSTR_TABLE_OPS);

	walk_tables(program);
	require(walk_ops(program, 0, count, 0) == count);
	return count;
}

/* Exactly so long and no longer: ASan sees one byte too far. */
static uint8_t *copy_of(const uint8_t *data, size_t bytes)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);

	require(copy != NULL);
	memcpy(copy, data, bytes);
	return copy;
}

static void try_program(const uint8_t *data, size_t bytes)
{
	struct ktstr_program_header *header;
	uint8_t *copy = copy_of(data, bytes);
	struct program program;
	char why[256];

	if (bytes >= sizeof(*header)) {
		header = (void *)copy;
		header->total_bytes = (uint32_t)bytes;
		header->crc = crc32_update(0, header, offsetof(struct ktstr_program_header, crc));
		header->crc = crc32_update(header->crc, header + 1, bytes - sizeof(*header));
	}
	if (program_open(copy, bytes, &program, why, sizeof(why)))
		walk(&program);
	free(copy);
}

/* As the agent takes it from the port: the head, then as many bytes as it says, then the checksum. */
static void try_delivery(const uint8_t *data, size_t bytes)
{
	struct ktstr_delivery head;
	uint8_t *copy;
	char why[128];
	uint32_t total;

	if (bytes < sizeof(head))
		return;
	memcpy(&head, data, sizeof(head));
	total = delivery_bytes(&head, why, sizeof(why));
	if (!total) {
		head.magic = KTSTR_DELIVERY_MAGIC;
		head.version = KTSTR_PROTO_VERSION;
		head.header_bytes = sizeof(head);
		total = delivery_bytes(&head, why, sizeof(why));
	}
	require(total == 0 || (total >= sizeof(head) && total <= sizeof(head) + KTSTR_MAX_PROGRAM_BYTES));
	if (total && total <= bytes) {
		copy = copy_of(data, total);
		memcpy(copy, &head, sizeof(head));
		if (delivery_is_whole((void *)copy, why, sizeof(why)))
			touch(copy, total);
		free(copy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	try_program(data, bytes);
	try_delivery(data, bytes);
	return 0;
}

#ifdef FUZZ_STANDALONE

static uint64_t random_state = 1;

static uint64_t next_random(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

/* Bit flips, odd bytes, odd words and cuts: a few of them at once. */
static size_t mutate(uint8_t *data, size_t bytes)
{
	static const uint32_t odd[] = { 0, 1, 7, 8, 0x7fffffff, 0x80000000, 0xffffffff, 4096, 4097, 512 };

	for (uint64_t i = next_random(4) + 1; i && bytes >= 4; i--) {
		size_t at = next_random(bytes);

		switch (next_random(4)) {
		case 0:
			data[at] ^= (uint8_t)(1 << next_random(8));
			break;
		case 1:
			data[at] = (uint8_t)next_random(256);
			break;
		case 2:
			memcpy(data + (at & ~(size_t)3) % (bytes - 3), &odd[next_random(10)], 4);
			break;
		default:
			bytes -= next_random(bytes < 64 ? bytes : 64);
		}
	}
	return bytes;
}

/* The program must be good as it is: prints how many ops it has. */
static void report_original(const uint8_t *data, size_t bytes)
{
	struct program program;
	char why[256];

	if (!program_open(data, bytes, &program, why, sizeof(why))) {
		fprintf(stderr, "refused: %s\n", why);
		exit(1);
	}
	printf("%u ops, %u workers\n", walk(&program), program_count(&program, KTSTR_TABLE_WORKERS));
}

int main(int argc, char **argv)
{
	unsigned long tries = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

	for (int i = 2; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		uint8_t *data = malloc(KTSTR_MAX_PROGRAM_BYTES), *copy = malloc(KTSTR_MAX_PROGRAM_BYTES);
		size_t bytes = file && data && copy ? fread(data, 1, KTSTR_MAX_PROGRAM_BYTES, file) : 0;

		report_original(data, bytes);
		for (unsigned long n = 0; n < tries; n++) {
			memcpy(copy, data, bytes);
			LLVMFuzzerTestOneInput(copy, mutate(copy, bytes));
		}
		fclose(file);
		free(copy);
		free(data);
	}
	return 0;
}

#endif
