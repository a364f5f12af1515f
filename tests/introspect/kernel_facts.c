/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest's own kernel says, for tests to compare with what the host read: the verifier's counts, symbols. And
 * what it is told to hold: maps of known contents, a blocked and a named task.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVERY	20	/* symbols */
#define SYMBOLS	8000	/* all take a guest under counted instructions a minute */
#define CPUS	512

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* {"id": ..., "verified_insns": ..., "run_cnt": ..., "run_time_ns": ...} of each program, a line each. */
static int programs(void)
{
	union bpf_attr next = { .start_id = 0 };

	while (!bpf(BPF_PROG_GET_NEXT_ID, &next)) {
		union bpf_attr open = { .prog_id = next.next_id };
		struct bpf_prog_info info = { 0 };
		union bpf_attr ask = { 0 };
		int fd = bpf(BPF_PROG_GET_FD_BY_ID, &open);

		if (fd < 0)
			return 1;
		ask.info.bpf_fd = (uint32_t)fd;
		ask.info.info_len = sizeof(info);
		ask.info.info = (uint64_t)(uintptr_t)&info;
		if (bpf(BPF_OBJ_GET_INFO_BY_FD, &ask))
			return 1;
		close(fd);
		printf("{\"id\": %u, \"verified_insns\": %u, \"run_cnt\": %llu, \"run_time_ns\": %llu}\n", info.id,
		       info.verified_insns, info.run_cnt, info.run_time_ns);
		next.start_id = next.next_id;
	}
	return errno == ENOENT ? 0 : 1;
}

static int make(uint32_t type, const char *name, uint32_t value_size, uint32_t entries)
{
	union bpf_attr attr = { 0 };

	attr.map_type = type;
	attr.key_size = 4;
	attr.value_size = value_size;
	attr.max_entries = entries;
	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	return bpf(BPF_MAP_CREATE, &attr);
}

static int put(int map, uint32_t key, const void *value)
{
	union bpf_attr attr = { 0 };

	attr.map_fd = (uint32_t)map;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)value;
	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

/* A hash of 300 entries, k: 3k + 1; an array of 8, i: 7i; a per-CPU array of 2, i on CPU c: 1000i + c. */
static int maps(void)
{
	int hash = make(BPF_MAP_TYPE_HASH, "facts_hash", 8, 1024);
	int array = make(BPF_MAP_TYPE_ARRAY, "facts_array", 8, 8);
	int each = make(BPF_MAP_TYPE_PERCPU_ARRAY, "facts_percpu", 8, 2);
	uint64_t values[CPUS];

	for (uint32_t k = 0; k < 300; k++) {
		values[0] = 3 * k + 1;
		if (put(hash, k, values))
			return 1;
	}
	for (uint32_t i = 0; i < 8; i++) {
		values[0] = 7 * i;
		if (put(array, i, values))
			return 1;
	}
	for (uint32_t i = 0; i < 2; i++) {
		for (uint32_t cpu = 0; cpu < CPUS; cpu++)
			values[cpu] = 1000 * i + cpu;
		if (put(each, i, values))
			return 1;
	}
	for (;;)
		pause();
}

/* Every 20th of the first lines of /proc/kallsyms. */
static int symbols(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[1024];

	for (int i = 0; i < SYMBOLS && file && fgets(line, sizeof(line), file); i++)
		if (i % EVERY == 0)
			fputs(line, stdout);
	return file ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (!strcmp(mode, "programs"))
		return programs();
	if (!strcmp(mode, "maps"))
		return maps();
	if (!strcmp(mode, "symbols"))
		return symbols();
	for (;;)
		pause();
}
