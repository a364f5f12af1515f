// SPDX-License-Identifier: GPL-2.0-only
/* What the agent takes for a program, and what it says about one that it refuses: which part, which field. */
#include "agent_test.h"

static char why[256];

static bool opens(const struct small *s, size_t bytes)
{
	struct program program;

	return program_open(s, bytes, &program, why, sizeof(why));
}

static void refused(struct small *s, const char *because)
{
	seal(s);
	if (opens(s, sizeof(*s))) {
		fprintf(stderr, "taken, expected '%s'\n", because);
		exit(1);
	}
	if (!strstr(why, because)) {
		fprintf(stderr, "refused with '%s', expected '%s'\n", why, because);
		exit(1);
	}
}

/* One thing of the program changed, and why it is refused then. */
#define DAMAGED(change, because)                \
	do {                                    \
		struct small s = small_program(); \
		change;                         \
		refused(&s, because);           \
	} while (0)

static void taken(struct small *s)
{
	seal(s);
	if (!opens(s, sizeof(*s)))
		fprintf(stderr, "refused with '%s'\n", why);
	CHECK(opens(s, sizeof(*s)));
}

TEST(a_program_is_found_where_its_tables_are)
{
	struct small s = small_program();
	struct program program;

	CHECK(program_open(&s, sizeof(s), &program, why, sizeof(why)));
	CHECK(program.header == &s.header && program.strings == s.strings && program.masks == s.masks);
	CHECK(program.cgroups == s.cgroups && program.works == s.works && program.workers == s.workers);
	CHECK(program.payloads == s.payloads && program.ops == s.ops);
	CHECK(strcmp(program_string(&program, 14), "/proc/y") == 0);
	CHECK(program_mask(&program, 0) == NULL && program_mask(&program, 2) == &s.masks[1]);
}

TEST(a_damaged_header_is_refused)
{
	struct small s = small_program();

	CHECK(!opens(&s, 20) && strstr(why, "program of 20 bytes"));
	CHECK(!opens(&s, sizeof(s) - 8) && strstr(why, "says it has"));
	s.ops[7].ns = 6;
	CHECK(!opens(&s, sizeof(s)) && strstr(why, "checksum"));
	DAMAGED(s.header.magic++, "magic");
	DAMAGED(s.header.version = 1, "version 1, this agent speaks 4");
	DAMAGED(s.header.header_bytes = 40, "version 4");
	DAMAGED(s.header.flags = 16, "flags 0x10");
	DAMAGED(s.header.deadline_ns = KTSTR_MAX_NS + UINT64_C(1), "deadline of 86400000000001 ns");
}

TEST(tables_that_do_not_fit_are_refused)
{
	DAMAGED(s.header.counts[KTSTR_TABLE_OPS] = 9, "ends inside its ops");
	DAMAGED(s.header.counts[KTSTR_TABLE_OPS] = 7, "72 bytes after its ops");
	DAMAGED(s.header.counts[KTSTR_TABLE_OPS] = KTSTR_MAX_OPS + 1, "program of 8193 ops, at most 8192");
	DAMAGED(s.header.counts[KTSTR_TABLE_CGROUPS] = UINT32_MAX, "cgroups, at most 256");
	DAMAGED(s.header.counts[KTSTR_TABLE_MASKS] = 8000, "ends inside its masks");
	DAMAGED(s.strings[31] = 'x', "strings do not end with a NUL");
}

TEST(entries_of_tables_are_refused_by_their_fields)
{
	DAMAGED(memset(&s.masks[1], 0, sizeof(s.masks[1])), "mask 2: bits");
	DAMAGED(s.cgroups[1].name = 32, "cgroup 1: name 32");
	DAMAGED(s.cgroups[1].name = 4, "cgroup 1: name is not a plain");
	DAMAGED(memcpy(s.strings, "a/a/a/a/a/a/a/a/a", 18), "cgroup 0: name is not a plain relative path of at most 8");
	DAMAGED(s.cgroups[0].cpus = 3, "cgroup 0: cpus 3 of 2");
	DAMAGED(s.cgroups[0].mems = 3, "cgroup 0: mems 3 of 2");
	DAMAGED(s.cgroups[0].reserved = 1, "cgroup 0: reserved");
	DAMAGED(s.payloads[0].argc = 0, "payload 0: argc 0");
	DAMAGED(s.payloads[0].argc = 64, "payload 0: argv has");
	DAMAGED(s.payloads[0].argv = 40, "payload 0: argv has 0 strings");
	DAMAGED(s.payloads[0].argv = 27, "payload 0: argv begins with an empty string");
	DAMAGED(s.payloads[1].cgroup = 2, "payload 1: cgroup 2 of 2");
	DAMAGED(s.payloads[1].affinity = 3, "payload 1: affinity 3 of 2");
}

TEST(works_and_workers_are_refused_by_their_fields)
{
	DAMAGED(s.works[1].type = 99, "work 1: type 99");
	DAMAGED(s.works[1].cgroup = -2, "work 1: cgroup -2 of 2");
	DAMAGED(s.works[1].worker_count = 1, "work 1: worker_count 1 of PipeIo, expected a multiple of 2");
	DAMAGED(s.works[1].worker_count = 0, "work 1: worker_count 0");
	DAMAGED(s.works[1].first_worker = 3, "work 1: first_worker 3");
	DAMAGED(s.works[1].first_worker = UINT32_MAX, "work 1: first_worker");
	DAMAGED(s.works[1].first_worker = 2, "work 1: first_worker 2 and worker_count 2 hold one of another");
	DAMAGED((s.works[0].first_worker = 3, s.works[0].worker_count = 1), "worker 2: belongs to no work");
	DAMAGED(s.works[1].params[0] = UINT64_C(1) << 40, "work 1: params[0] of PipeIo");
	DAMAGED(s.works[1].params[1] = 1, "work 1: params[1] of PipeIo");
	DAMAGED(s.works[1].policy = 7, "work 1: policy 7 is unknown");
	DAMAGED(s.works[1].priority = 1, "work 1: priority 1 under policy 0");
	DAMAGED((s.works[1].policy = KTSTR_POLICY_FIFO, s.works[1].priority = 99), "work 1: priority 99");
	DAMAGED(s.works[1].nice = 20, "work 1: nice 20");
	DAMAGED(s.works[1].affinity = 3, "work 1: affinity 3 of 2");
	DAMAGED(s.workers[3].order = 1, "worker 3: order 1 is taken");
	DAMAGED(s.workers[3].order = 4, "worker 3: order 4");
	DAMAGED(s.workers[3].start_offset_ns = KTSTR_MAX_NS + UINT64_C(1), "worker 3: start_offset_ns");
	DAMAGED(s.workers[3].affinity = 3, "worker 3: affinity 3 of 2 masks");
}

#define TIMES(runtime, deadline, period)                                                           \
	(s.works[1].policy = KTSTR_POLICY_DEADLINE, s.works[1].runtime_ns = (runtime),             \
	 s.works[1].deadline_ns = (deadline), s.works[1].period_ns = (period))

TEST(deadlines_ascend_and_are_of_their_policy_alone)
{
	struct small s = small_program();

	TIMES(1024, 1024, KTSTR_MAX_NS);
	taken(&s);
	DAMAGED(TIMES(1023, 2000, 3000), "work 1: runtime_ns 1023, deadline_ns 2000, period_ns 3000: expected them to");
	DAMAGED(TIMES(2001, 2000, 3000), "work 1: runtime_ns 2001");
	DAMAGED(TIMES(2000, 3001, 3000), "work 1: runtime_ns 2000, deadline_ns 3001");
	DAMAGED(TIMES(2000, 3000, KTSTR_MAX_NS + UINT64_C(1)), "work 1: runtime_ns 2000");
	DAMAGED(s.works[1].policy = KTSTR_POLICY_DEADLINE, "work 1: runtime_ns 0");
	DAMAGED((TIMES(2000, 3000, 4000), s.works[1].priority = 1), "work 1: priority 1 under policy 5");
	DAMAGED(s.works[1].period_ns = 1, "work 1: runtime_ns, deadline_ns or period_ns under policy 0");
}

#define MEMORY(policy, flags, nodes) \
	(s.works[1].mem_policy = (policy), s.works[1].mem_flags = (flags), s.works[1].mem_nodes = (nodes))

TEST(memory_policies_have_their_nodes_and_flags)
{
	struct small s = small_program();

	MEMORY(KTSTR_MEM_POLICY_BIND, 1U << 15 | 1U << 13, 1);
	taken(&s);
	MEMORY(KTSTR_MEM_POLICY_LOCAL, 0, 0);
	taken(&s);
	DAMAGED(MEMORY(7, 0, 1), "work 1: mem_policy 7 is unknown");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_BIND, 0, 3), "work 1: mem_nodes 3 of 2 masks");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_BIND, 0, 0), "work 1: mem_nodes 0 under mem_policy 2");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_LOCAL, 0, 1), "work 1: mem_nodes 1 under mem_policy 4");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_DEFAULT, 0, 1), "work 1: mem_nodes 1 under mem_policy 0");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_BIND, 0, 2), "work 1: mem_nodes holds a node above 63");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_BIND, 1, 1), "work 1: mem_flags 0x1 under mem_policy 2");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_BIND, 3U << 14, 1), "work 1: mem_flags 0xc000");
	DAMAGED(MEMORY(KTSTR_MEM_POLICY_LOCAL, 1U << 15, 0), "work 1: mem_flags 0x8000 under mem_policy 4");
}

TEST(names_of_tasks_are_short_and_plain)
{
	struct small s = small_program();

	s.works[1].flags = KTSTR_WORK_THREADS | KTSTR_WORK_CGROUP_NAMESPACE | KTSTR_WORK_PAGES;
	s.works[1].comm = 1; /* "a" */
	s.works[1].pcomm = 3; /* "b" */
	taken(&s);
	DAMAGED(s.works[1].flags = 8, "work 1: flags 0x8 hold unknown ones");
	DAMAGED(s.works[1].comm = 33, "work 1: comm 33 is no string");
	DAMAGED(s.works[1].comm = 2, "work 1: comm of 0 bytes, 1 to 15");
	DAMAGED(s.works[1].comm = 5, "work 1: comm holds a character that is not printable, or a slash");
	DAMAGED((memset(s.strings, 'x', 16), s.works[1].comm = 1), "work 1: comm");
	DAMAGED(s.works[1].pcomm = 1, "work 1: pcomm 1, and its workers are no threads");
}

TEST(payloads_have_plain_variables_and_folders)
{
	struct small s = small_program();

	memcpy(s.strings + 22, "N=v\0M=", 7);
	s.payloads[1].env = 22;
	s.payloads[1].envc = 2;
	s.payloads[1].folder = 15; /* "/proc/y" */
	s.payloads[1].policy = KTSTR_POLICY_EXT;
	taken(&s);
	DAMAGED((s.payloads[1].env = 22, s.payloads[1].envc = 1), "payload 1: env[0] is not NAME=VALUE");
	DAMAGED(s.payloads[1].env = 22, "payload 1: env 22 of envc 0, at most 64");
	DAMAGED(s.payloads[1].envc = 65, "payload 1: env 0 of envc 65");
	DAMAGED((s.payloads[1].env = 40, s.payloads[1].envc = 1), "payload 1: env has 0 strings, expected 1");
	DAMAGED(s.payloads[1].folder = 33, "payload 1: folder 33 is no string");
	DAMAGED(s.payloads[1].folder = 1, "payload 1: folder does not begin with /");
	DAMAGED((s.payloads[1].folder = 15, s.strings[16] = '\n'), "payload 1: folder holds a control character");
	DAMAGED(s.payloads[1].policy = KTSTR_POLICY_DEADLINE, "payload 1: policy 5, and it has no deadline");
	DAMAGED(s.payloads[1].priority = 1, "payload 1: priority 1 under policy 0");
	DAMAGED(s.payloads[1].nice = -21, "payload 1: nice -21");
}

TEST(files_of_cgroups_are_plain_names)
{
	struct small s = small_program();

	s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_READ_CGROUP, .id = 1, .path = 22 };
	taken(&s);
	s.ops[7].path = 4;
	refused(&s, "op 7, ReadCgroup: path is no name of a file");
	s.ops[7].path = 1;
	refused(&s, "op 7, ReadCgroup: path is no name of a file");
	s.ops[7].path = 32;
	refused(&s, "op 7, ReadCgroup: path 32 is no string");
	s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_WRITE_CGROUP, .id = 0, .path = 22, .text = 22 };
	refused(&s, "op 7, WriteCgroup: the cgroup is not there");
	s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_CLEAR_CPUS, .id = 1, .mask = 1 };
	refused(&s, "op 7, ClearCpus: mask is not 0");
}

TEST(what_is_in_a_cgroup_is_removed_with_it)
{
	struct small s = small_program();

	memcpy(s.strings, "a/b", 4); /* cgroup 0; cgroup 1 is "b" */
	s.cgroups[1].name = 22;
	memcpy(s.strings + 22, "a", 2);
	s.ops[1] = (struct ktstr_op){ .kind = KTSTR_OP_ADD_CGROUP, .id = 0 };
	s.ops[2] = (struct ktstr_op){ .kind = KTSTR_OP_REMOVE_CGROUPS, .who = { .cgroup = 1, .work = -1 } };
	s.ops[3] = (struct ktstr_op){ .kind = KTSTR_OP_READ_CGROUP, .id = 0, .path = 22 };
	for (int i = 4; i < 8; i++)
		s.ops[i] = (struct ktstr_op){ .kind = KTSTR_OP_HOLD };
	refused(&s, "op 3, ReadCgroup: the cgroup is not there");
	s.ops[3] = s.ops[0];
	s.ops[4] = s.ops[1];
	taken(&s);
}

TEST(fields_that_an_op_does_not_take_are_refused)
{
	DAMAGED(s.ops[7].kind = 77, "op 7, unknown: kind 77");
	DAMAGED(s.ops[7].kind = 0, "op 7, unknown: kind 0");
	DAMAGED(s.ops[7].on_error = 2, "op 7, Hold: on_error 2");
	DAMAGED(s.ops[7].flags = 4, "op 7, Hold: flags 0x4");
	DAMAGED(s.ops[7].flags = KTSTR_OP_FLAG_STEP, "op 7, Hold: flags is not 0");
	DAMAGED(s.ops[7].flags = KTSTR_OP_FLAG_RESTORE, "op 7, Hold: flags is not 0");
	DAMAGED(s.ops[7].body = 1, "op 7, Hold: body");
	DAMAGED(s.ops[7].who.work = -1, "op 7, Hold: who");
	DAMAGED(s.ops[7].id = 1, "op 7, Hold: id");
	DAMAGED(s.ops[7].mask = 1, "op 7, Hold: mask");
	DAMAGED(s.ops[7].path = 1, "op 7, Hold: path");
	DAMAGED(s.ops[7].text = 1, "op 7, Hold: text");
	DAMAGED(s.ops[7].count = 1, "op 7, Hold: count");
	DAMAGED(s.ops[7].interval_ns = 1, "op 7, Hold: interval_ns");
	DAMAGED(s.ops[7].jitter_ns = 1, "op 7, Hold: jitter_ns");
	DAMAGED(s.ops[1].ns = 1, "op 1, Spawn: ns");
}

TEST(fields_that_an_op_takes_are_refused_out_of_bounds)
{
	DAMAGED(s.ops[7].ns = KTSTR_MAX_NS + UINT64_C(1), "op 7, Hold: ns 86400000000001");
	DAMAGED(s.ops[3].interval_ns = UINT64_MAX, "op 3, Repeat: interval_ns");
	DAMAGED((s.ops[7].kind = KTSTR_OP_DELAY, s.ops[7].jitter_ns = UINT64_MAX), "op 7, Delay: jitter_ns");
	DAMAGED(s.ops[0].id = 2, "op 0, AddCgroup: id 2 of 2 cgroups");
	DAMAGED(s.ops[1].id = 2, "op 1, Spawn: id 2 of 2 works");
	DAMAGED(s.ops[2].id = 2, "op 2, Run: id 2 of 2 payloads");
	DAMAGED((s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_SET_CPUS, .id = 1 }), "op 7, SetCpus: mask 0 of 2");
	DAMAGED((s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_SET_CPUS, .id = 1, .mask = 3 }), "mask 3 of 2");
	DAMAGED(s.ops[6].path = 32, "op 6, Write: path 32 is no string");
	DAMAGED(s.ops[6].path = 0, "op 6, Write: path does not begin with /");
	DAMAGED(s.strings[16] = '\n', "op 6, Write: path holds a control character");
	DAMAGED(s.ops[6].text = 32, "op 6, Write: text 32 is no string");
}

static struct ktstr_op release(struct ktstr_selector who)
{
	return (struct ktstr_op){ .kind = KTSTR_OP_RELEASE, .who = who };
}

#define WHO(...) (s.ops[7] = release((struct ktstr_selector){ __VA_ARGS__ }))

TEST(selectors_are_refused_by_their_parts)
{
	struct small s = small_program();

	WHO(.cgroup = 1, .work = 1, .first_worker = 1, .worker_count = 1);
	taken(&s);
	DAMAGED(WHO(3, -1, -1, 0, 0), "op 7, Release: who.scope 3");
	DAMAGED(WHO(0, 2, -1, 0, 0), "op 7, Release: who.cgroup 2 of 2");
	DAMAGED(WHO(0, -2, -1, 0, 0), "op 7, Release: who.cgroup -2");
	DAMAGED(WHO(0, -1, 2, 0, 0), "op 7, Release: who.work 2 of 2");
	DAMAGED(WHO(0, -1, -1, 1, 0), "op 7, Release: who.first_worker and who.worker_count without who.work");
	DAMAGED(WHO(0, -1, 1, 1, 2), "op 7, Release: who.first_worker 1 and who.worker_count 2 of 2");
	DAMAGED(WHO(0, -1, 1, 3, UINT32_MAX), "op 7, Release: who.first_worker 3");
	DAMAGED((s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_REMOVE_CGROUPS, .who = { .cgroup = -1 } }),
		"op 7, RemoveCgroups: who.work 0");
}

TEST(blocks_lie_inside_of_each_other)
{
	DAMAGED(s.ops[3].body = 5, "op 3, Repeat: body of 5 ops, 4 are left");
	DAMAGED(s.ops[3].body = UINT32_MAX, "op 3, Repeat: body of 4294967295 ops");
	DAMAGED(s.ops[4].body = 3, "op 4, Scope: body of 3 ops, 2 are left");
	DAMAGED(s.ops[3].count = 0, "op 3, Repeat: count and ns are 0");
}

TEST(blocks_are_nested_four_deep_at_most)
{
	struct small s = small_program();

	for (uint32_t i = 0; i < 5; i++)
		s.ops[i] = (struct ktstr_op){ .kind = KTSTR_OP_SCOPE, .body = 4 - i };
	s.ops[5] = s.ops[6] = s.ops[7];
	refused(&s, "op 4, Scope: is inside of 4 others, at most 3");
	s.ops[4] = s.ops[7];
	taken(&s);
}

TEST(what_a_repeat_makes_is_taken_down_in_each_pass)
{
	DAMAGED((s.ops[4].kind = KTSTR_OP_REPEAT, s.ops[4].flags = 0),
		"op 5, Spawn: makes something in a Repeat, outside of any Scope");
	DAMAGED((s.ops[4] = s.ops[7]), "op 5, Spawn: makes something in a Repeat");
}

static struct ktstr_op stop(struct ktstr_selector who)
{
	return (struct ktstr_op){ .kind = KTSTR_OP_STOP_WORKERS, .who = who };
}

TEST(what_is_made_twice_or_used_unmade_is_refused)
{
	struct small s = small_program();

	s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_SPAWN, .id = 0 };
	taken(&s); /* the scope ended the first one */
	DAMAGED(s.ops[7] = s.ops[1], "op 7, Spawn: the work is there already");
	DAMAGED(s.ops[0] = s.ops[7], "op 1, Spawn: its cgroup is not there");
	DAMAGED(s.ops[7] = s.ops[0], "op 7, AddCgroup: the cgroup is there already");
	DAMAGED(s.ops[7] = s.ops[2], "op 7, Run: the payload is there already");
	DAMAGED((s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_KILL }), "op 7, Kill: the payload is not there");
	DAMAGED((s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_WAIT }), "op 7, Wait: the payload is not there");
	DAMAGED((s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_MOVE, .who = ANY }), "op 7, Move: the cgroup is not");
	DAMAGED((s.ops[7] = (struct ktstr_op){ .kind = KTSTR_OP_SET_CPUS, .mask = 1 }), "op 7, SetCpus: the cgroup is");
	s = small_program();
	s.ops[0] = s.ops[1] = (struct ktstr_op){ .kind = KTSTR_OP_START_SCHEDULER };
	refused(&s, "op 1, StartScheduler: a scheduler is there already");
}

TEST(a_work_is_there_until_all_of_it_is_stopped)
{
	struct small s = small_program();

	for (int i = 2; i < 7; i++)
		s.ops[i] = s.ops[7];
	s.ops[2] = stop((struct ktstr_selector){ .cgroup = -1, .work = 1, .worker_count = 1 });
	s.ops[3] = s.ops[1];
	refused(&s, "op 3, Spawn: the work is there already");
	s.ops[2] = stop((struct ktstr_selector){ .scope = KTSTR_SCOPE_STEP, .cgroup = -1, .work = -1 });
	refused(&s, "op 3, Spawn: the work is there already");
	s.ops[2] = stop((struct ktstr_selector){ .cgroup = 0, .work = -1 });
	refused(&s, "op 3, Spawn: the work is there already");
	s.ops[2] = stop((struct ktstr_selector){ .scope = KTSTR_SCOPE_BACKDROP, .cgroup = 1, .work = -1 });
	taken(&s);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	RUN(a_program_is_found_where_its_tables_are)
	RUN(a_damaged_header_is_refused)
	RUN(tables_that_do_not_fit_are_refused)
	RUN(entries_of_tables_are_refused_by_their_fields)
	RUN(works_and_workers_are_refused_by_their_fields)
	RUN(deadlines_ascend_and_are_of_their_policy_alone)
	RUN(memory_policies_have_their_nodes_and_flags)
	RUN(names_of_tasks_are_short_and_plain)
	RUN(payloads_have_plain_variables_and_folders)
	RUN(files_of_cgroups_are_plain_names)
	RUN(what_is_in_a_cgroup_is_removed_with_it)
	RUN(fields_that_an_op_does_not_take_are_refused)
	RUN(fields_that_an_op_takes_are_refused_out_of_bounds)
	RUN(selectors_are_refused_by_their_parts)
	RUN(blocks_lie_inside_of_each_other)
	RUN(blocks_are_nested_four_deep_at_most)
	RUN(what_a_repeat_makes_is_taken_down_in_each_pass)
	RUN(what_is_made_twice_or_used_unmade_is_refused)
	RUN(a_work_is_there_until_all_of_it_is_stopped)
	fprintf(stderr, "no test named %s\n", argv[1]);
	return 2;
}
