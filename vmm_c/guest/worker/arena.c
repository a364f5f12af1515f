// SPDX-License-Identifier: GPL-2.0-only
#include "worker/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/smaller.h"
#include "base/sysfile.h"
#include "work/work.h"

/* Samples of one worker: the p99 of more is as exact, and each page of them costs time before the release. */
#define SAMPLE_ROOM 32768

/* Where the parts of one worker's memory are, from the begin of the arena. */
struct place {
	size_t slot;
	size_t shared; /* its group's */
	size_t migrations;
	size_t samples;
	size_t requests;
	size_t pages; /* 0: none */
	uint32_t sample_room, request_room;
};

static uint8_t *arena;
static struct place *places;
static uint32_t migration_room;
static bool clock_is_call;

static size_t take(size_t *used, size_t bytes)
{
	size_t at = *used;

	*used += (bytes + 63) & ~(size_t)63;
	return at;
}

static void lay_out_work(const struct ktstr_work *work, uint32_t total, size_t *used)
{
	const struct work_type *type = work_type(work->type);
	uint32_t room = smaller(KTSTR_MAX_SAMPLES_TOTAL / total, SAMPLE_ROOM), group = work_group(work);
	size_t shared = 0;

	for (uint32_t i = 0; i < work->worker_count; i++) {
		struct place *place = &places[work->first_worker + i];

		if (i % group == 0)
			shared = take(used, work_shared_bytes(work));
		place->shared = shared;
		place->slot = take(used, sizeof(struct slot));
		place->migrations = take(used, migration_room * sizeof(struct ktstr_migration));
		place->sample_room = type->flags & WORK_WAKES ? room : 0;
		place->samples = take(used, place->sample_room * sizeof(uint64_t));
		place->request_room = type->flags & WORK_REQUESTS ? room : 0;
		place->requests = take(used, place->request_room * sizeof(uint64_t));
		if (work->flags & KTSTR_WORK_PAGES)
			place->pages = take(used, KTSTR_MAX_NODES * sizeof(uint64_t));
	}
}

/* Read without a system call: the clocks that the kernel's vDSO knows (arch/x86/include/asm/vdso/gettimeofday.h). */
static bool vdso_reads_clock(void)
{
	static const char *const known[] = { "tsc", "tsc-early", "kvm-clock", "hyperv_clocksource_tsc_page" };
	char name[64];

	if (sysfile_read("/sys/devices/system/clocksource/clocksource0/current_clocksource", name, sizeof(name)) <= 0)
		return false;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i]) == 0)
			return true;
	return false;
}

bool arena_make(const struct program *program)
{
	uint32_t total = program_count(program, KTSTR_TABLE_WORKERS);
	size_t used = 0;

	places = calloc(total ? total : 1, sizeof(*places));
	if (!places)
		return false;
	if (!total)
		return true;
	clock_is_call = !vdso_reads_clock();
	migration_room = smaller(KTSTR_MAX_MIGRATIONS_TOTAL / total, KTSTR_MAX_MIGRATIONS);
	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_WORKS); i++)
		lay_out_work(&program->works[i], total, &used);
	arena = mmap(NULL, used, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return arena != MAP_FAILED;
}

/* How it is to live, as its work says. */
static void declare(struct slot *slot, const struct program *program, const struct ktstr_work *work)
{
	const struct ktstr_cpumask *nodes = program_mask(program, work->mem_nodes);

	if (work->comm)
		snprintf(slot->name, sizeof(slot->name), "%s", program_string(program, work->comm - 1));
	else /* the kernel's messages then name the worker by its index */
		snprintf(slot->name, sizeof(slot->name), "worker/%u", slot->report.index);
	slot->own_namespace = !!(work->flags & KTSTR_WORK_CGROUP_NAMESPACE);
	slot->mem_mode = work->mem_policy | work->mem_flags;
	slot->mem_nodes = nodes ? nodes->bits[0] : 0;
}

struct slot *arena_slot(const struct program *program, uint32_t work, uint32_t worker, uint32_t spawn)
{
	const struct ktstr_work *declared = &program->works[work];
	const struct place *place = &places[worker];
	struct slot *slot = (void *)(arena + place->slot);

	memset(slot, 0, sizeof(*slot));
	slot->type = declared->type;
	slot->place = (worker - declared->first_worker) % work_group(declared);
	slot->group = work_group(declared);
	slot->shared_bytes = work_shared_bytes(declared);
	memcpy(slot->params, declared->params, sizeof(slot->params));
	slot->start_offset_ns = program->workers[worker].start_offset_ns;
	slot->shared = arena + place->shared;
	slot->read_fd = slot->write_fd = slot->partner_read_fd = slot->partner_write_fd = -1;
	slot->migration_room = migration_room;
	slot->clock_is_call = clock_is_call;
	slot->migrations = (void *)(arena + place->migrations);
	reservoir_init(&slot->wakes, (void *)(arena + place->samples), place->sample_room, worker);
	reservoir_init(&slot->requests, (void *)(arena + place->requests), place->request_room, worker);
	slot->report.index = worker;
	slot->report.place = slot->place;
	slot->report.spawn = spawn;
	slot->report.work = work;
	slot->report.cgroup = declared->cgroup;
	slot->pages = place->pages ? (void *)(arena + place->pages) : NULL;
	declare(slot, program, declared);
	return slot;
}

void arena_clear_group(uint32_t first_worker)
{
	memset(arena + places[first_worker].shared, 0, places[first_worker].slot - places[first_worker].shared);
}
