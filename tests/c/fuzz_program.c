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

#include "crc32.h"
#include "delivery.h"
#include "program.h"

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

static void walk_spawn(const struct ktstr_op_spawn *spawn, uint32_t cgroups)
{
	require(spawn->cgroup >= -1 && spawn->cgroup < (int32_t)cgroups);
	require(work_group_size(spawn->work_type) > 0);
	require(spawn->worker_count % work_group_size(spawn->work_type) == 0);
	touch(op_spawn_offsets(spawn), spawn->worker_count * sizeof(uint64_t));
}

static void walk_scheduler(const struct ktstr_op_start_scheduler *start)
{
	const char *argv[KTSTR_MAX_ARGS + 1];

	op_scheduler_argv(start, argv);
	for (uint32_t i = 0; i < start->argc; i++)
		touch(argv[i], strlen(argv[i]) + 1);
	require(argv[start->argc] == NULL && argv[0][0] != '\0');
}

static uint32_t walk(const struct program *program)
{
	uint32_t cgroups = 0, workers = 0, ops = 0;
	struct program_op op;
	size_t at = 0;

	for (; program_next(program, &at, &op); ops++) {
		touch(op.payload, op.bytes);
		if (op.kind == KTSTR_OP_ADD_CGROUP) {
			const struct ktstr_op_add_cgroup *add = op.payload;

			require(strlen(add->name) < sizeof(add->name) && !strstr(add->name, ".."));
			cgroups++;
		} else if (op.kind == KTSTR_OP_SPAWN) {
			walk_spawn(op.payload, cgroups);
			workers += ((const struct ktstr_op_spawn *)op.payload)->worker_count;
		} else if (op.kind == KTSTR_OP_RELEASE) {
			const struct ktstr_op_release *release = op.payload;

			for (uint32_t i = 0; i < release->count; i++)
				require(op_release_order(release)[i] < workers);
		} else if (op.kind == KTSTR_OP_START_SCHEDULER) {
			walk_scheduler(op.payload);
		}
	}
	require(ops == program->header->op_count && workers == program->worker_total);
	return ops;
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
	printf("%u ops, %u workers\n", walk(&program), program.worker_total);
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
