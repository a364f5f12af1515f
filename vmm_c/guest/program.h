// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_PROGRAM_H
#define KTSTR_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

/* A program that was checked in full; it points into the bytes it was opened on. */
struct program {
	const uint8_t *data;
	const struct ktstr_program_header *header;
	uint32_t worker_total; /* over all Spawn ops */
};

/* One op. payload is the op's struct, at, bytes long; both valid as long as the program's data. */
struct program_op {
	enum ktstr_op kind;
	const void *payload;
	uint32_t bytes;
};

/*
 * Check every size, offset, index and count once; after this nothing needs to be checked again.
 * data must be 8-byte aligned. On failure says why in why and returns false.
 */
bool program_open(const void *data, size_t bytes, struct program *ret, char *why, size_t why_size);

/* Step through the ops; start with *at = 0. False after the last. */
bool program_next(const struct program *program, size_t *at, struct program_op *ret);

/* How many workers of this kind make one group, and how many params it takes. 0 if unknown. */
uint32_t work_group_size(uint32_t work_type);
uint32_t work_param_count(uint32_t work_type);

/* The parts that follow an op's struct. */
const uint64_t *op_spawn_offsets(const struct ktstr_op_spawn *op);
const uint32_t *op_release_order(const struct ktstr_op_release *op);
/* Fill argv (KTSTR_MAX_ARGS + 1 pointers, NULL-terminated) with the scheduler's arguments. */
void op_scheduler_argv(const struct ktstr_op_start_scheduler *op, const char **argv);

/* "AddCgroup" and so on, as the host calls them. */
const char *op_name(uint32_t kind);
const char *work_name(uint32_t work_type);

#endif
