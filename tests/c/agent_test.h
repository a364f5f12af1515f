// SPDX-License-Identifier: GPL-2.0-only
/* What tests of the agent's pure parts share. Each TEST is run by its name, which is the program's argument. */
#ifndef KTSTR_AGENT_TEST_H
#define KTSTR_AGENT_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/verify.h"
#include "wire/crc32.h"

#define CHECK(condition)                                                                  \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

#define TEST(name) static void name(void)

#define RUN(name)                                 \
	if (strcmp(argv[1], #name) == 0) {        \
		name();                           \
		return 0;                         \
	}

/* A program that has something in each table and every field of an op to be damaged. */
struct small {
	struct ktstr_program_header header;
	char strings[32];
	struct ktstr_cpumask masks[2];
	struct ktstr_cgroup cgroups[2];
	struct ktstr_work works[2];
	struct ktstr_worker workers[4];
	struct ktstr_payload payloads[2];
	struct ktstr_op ops[8];
};

#define ANY { .cgroup = -1, .work = -1 }

static inline void seal(struct small *s)
{
	s->header.crc = crc32_update(0, s, offsetof(struct ktstr_program_header, crc));
	s->header.crc = crc32_update(s->header.crc, &s->header + 1, sizeof(*s) - sizeof(s->header));
}

/* AddCgroup b; Spawn work 1 in it; Run payload 1; Repeat { Scope { Spawn work 0; Write } }; Hold. */
static inline struct small small_program(void)
{
	struct small s = {
		.header = { .magic = 0x5052544b, .version = 4, .header_bytes = 64, .total_bytes = sizeof(s), .seed = 9,
			    .deadline_ns = 1000, .counts = { 32, 2, 2, 2, 4, 2, 8 } },
		.strings = "a\0b\0/bin/x\0-v\0/proc/y\0text",
		.masks = { { { 3 } }, { { 0, 1 } } },
		.cgroups = { { .name = 0, .cpus = 1 }, { .name = 2, .mems = 2 } },
		.works = { { .type = 1, .cgroup = -1, .first_worker = 2, .worker_count = 2 },
			   { .type = 5, .cgroup = 1, .worker_count = 2, .params = { 7 }, .affinity = 1 } },
		.workers = { { .order = 3 }, { .order = 2 }, { .order = 1 }, { .order = 0, .start_offset_ns = 4 } },
		.payloads = { { .argv = 4, .argc = 2, .cgroup = -1 }, { .argv = 4, .argc = 1, .cgroup = 1 } },
		.ops = { { .kind = KTSTR_OP_ADD_CGROUP, .id = 1 },
			 { .kind = KTSTR_OP_SPAWN, .id = 1 },
			 { .kind = KTSTR_OP_RUN, .id = 1, .on_error = KTSTR_ON_ERROR_RECORD },
			 { .kind = KTSTR_OP_REPEAT, .body = 3, .count = 2, .interval_ns = 1 },
			 { .kind = KTSTR_OP_SCOPE, .body = 2, .ns = 5, .flags = KTSTR_OP_FLAG_STEP },
			 { .kind = KTSTR_OP_SPAWN, .id = 0 },
			 { .kind = KTSTR_OP_WRITE, .path = 14, .text = 22, .flags = KTSTR_OP_FLAG_RESTORE },
			 { .kind = KTSTR_OP_HOLD, .ns = 5 } },
	};

	seal(&s);
	return s;
}

#endif
