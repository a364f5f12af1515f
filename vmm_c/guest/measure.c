// SPDX-License-Identifier: GPL-2.0-only
#include "measure.h"

#include <sched.h>
#include <time.h>

#include "cpulist.h"
#include "run.h"

#define CHECKPOINT_UNITS 1024
#define CHECKPOINT_NS 1000000
/* Two clock reads take less than this unless something came between them; try this often. */
#define PAIR_NS 50000
#define PAIR_TRIES 3

static uint64_t thread_cpu_ns(void)
{
	struct timespec cpu;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	return (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
}

static struct instant read_instant(void)
{
	struct instant best = { 0 };
	uint64_t best_width = UINT64_MAX;

	for (int i = 0; i < PAIR_TRIES && best_width > PAIR_NS; i++) {
		uint64_t before = now_ns();
		uint64_t cpu = thread_cpu_ns();
		uint64_t width = now_ns() - before;

		if (width < best_width) {
			best_width = width;
			best = (struct instant){ before, cpu };
		}
	}
	return best;
}

static void note_migration(struct measure *m, uint32_t cpu, uint64_t at_ns)
{
	struct ktstr_msg_worker *report = &m->arena->report;

	if (report->migrations_stored < m->arena->migration_room)
		m->arena->migrations[report->migrations_stored++] =
			(struct ktstr_migration){ at_ns, m->cpu, cpu };
	report->migration_count++;
}

static void note_cpu(struct measure *m, uint64_t wall_ns)
{
	uint32_t cpu = (uint32_t)sched_getcpu();

	if (cpu == m->cpu || cpu >= KTSTR_MAX_CPUS)
		return;
	cpumask_set(&m->arena->report.cpus_used, cpu);
	note_migration(m, cpu, wall_ns - m->start_ns);
	m->cpu = cpu;
}

static void note_stall(struct measure *m, struct instant now)
{
	struct ktstr_msg_worker *report = &m->arena->report;
	uint64_t stall = now.cpu_ns - m->stall_from.cpu_ns;

	if (stall > report->max_stall_ns) {
		report->max_stall_ns = stall;
		report->max_stall_cpu = m->cpu;
	}
	m->stall_from = now;
}

static void keep_gap(struct ktstr_msg_worker *report, struct instant from, struct instant to,
		     uint64_t start_ns, uint32_t cpu)
{
	uint64_t gap = to.wall_ns - from.wall_ns;
	uint64_t charged = to.cpu_ns - from.cpu_ns;

	if (gap <= report->max_gap_ns)
		return;
	report->max_gap_ns = gap;
	report->max_gap_cpu = cpu;
	report->max_gap_at_ns = from.wall_ns - start_ns;
	report->max_gap_off_cpu_ns = gap > charged ? gap - charged : 0;
}

static void begin_gap(struct measure *m, struct instant from)
{
	m->gap_from = from;
	m->arena->gap_wall_ns = from.wall_ns;
	m->arena->gap_cpu_ns = from.cpu_ns;
	m->arena->gap_cpu = m->cpu;
}

static void note_gap(struct measure *m, struct instant now)
{
	keep_gap(&m->arena->report, m->gap_from, now, m->start_ns, m->cpu);
	begin_gap(m, now);
}

/* What is known so far, for the case that the worker never gets to its end. */
static void publish(struct measure *m, struct instant now)
{
	struct ktstr_msg_worker *report = &m->arena->report;

	report->work_units = m->units;
	report->iterations = atomic_load_explicit(&m->arena->iterations, memory_order_relaxed);
	report->wall_time_ns = now.wall_ns - m->start_ns;
	report->cpu_time_ns = now.cpu_ns - m->start_cpu_ns;
	report->wake_sample_total = m->arena->wakes.seen;
	report->samples_stored = m->arena->wakes.stored;
}

void measure_prepare(struct measure *m, struct worker_arena *arena)
{
	*m = (struct measure){ .arena = arena };
	m->has_schedstat = schedstat_read_self(&m->schedstat_start);
	m->start_cpu_ns = thread_cpu_ns();
	arena->start_cpu_ns = m->start_cpu_ns;
	arena->gap_cpu_ns = m->start_cpu_ns;
}

void measure_begin(struct measure *m, uint64_t start_ns)
{
	struct ktstr_msg_worker *report = &m->arena->report;

	m->start_ns = start_ns;
	m->stall_from = read_instant();
	/* From the release, not from here: being kept off the CPU until now is a gap too. */
	m->cpu = (uint32_t)sched_getcpu();
	begin_gap(m, (struct instant){ start_ns, m->start_cpu_ns });
	cpumask_set(&report->cpus_used, m->cpu);
	report->max_gap_cpu = m->cpu;
	report->max_stall_cpu = m->cpu;
	measure_checkpoint(m);
}

void measure_checkpoint(struct measure *m)
{
	struct instant now = read_instant();

	note_stall(m, now);
	note_gap(m, now);
	note_cpu(m, now.wall_ns);
	m->units_at_checkpoint = m->units;
	publish(m, now);
}

void measure_iteration(struct measure *m)
{
	uint64_t done = atomic_load_explicit(&m->arena->iterations, memory_order_relaxed);

	atomic_store_explicit(&m->arena->iterations, done + 1, memory_order_relaxed);
	if (m->units - m->units_at_checkpoint >= CHECKPOINT_UNITS ||
	    now_ns() - m->gap_from.wall_ns >= CHECKPOINT_NS)
		measure_checkpoint(m);
}

void measure_piece(struct measure *m)
{
	struct instant now = read_instant();

	note_stall(m, now);
	note_cpu(m, now.wall_ns);
}

void measure_block(struct measure *m)
{
	measure_checkpoint(m);
	m->arena->blocked = 1;
}

void measure_restart(struct measure *m)
{
	struct instant now = read_instant();

	note_cpu(m, now.wall_ns);
	m->stall_from = now;
	begin_gap(m, now);
	m->arena->blocked = 0;
}

void measure_restart_piece(struct measure *m)
{
	m->stall_from = read_instant();
	note_cpu(m, m->stall_from.wall_ns);
}

void measure_wake(struct measure *m, uint64_t latency_ns)
{
	reservoir_add(&m->arena->wakes, latency_ns);
}

void measure_end(struct measure *m)
{
	struct ktstr_msg_worker *report = &m->arena->report;
	struct schedstat end;

	measure_checkpoint(m);
	if (m->has_schedstat && schedstat_read_self(&end)) {
		report->schedstat_cpu_time_ns = end.run_ns - m->schedstat_start.run_ns;
		report->schedstat_run_delay_ns = end.run_delay_ns - m->schedstat_start.run_delay_ns;
		report->schedstat_run_count = end.timeslices - m->schedstat_start.timeslices;
		report->has_schedstat = 1;
	}
	atomic_thread_fence(memory_order_release);
	report->completed = 1;
}

static bool process_cpu_ns(int32_t pid, uint64_t *ret)
{
	struct timespec cpu;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &cpu) < 0)
		return false;
	*ret = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	return true;
}

void measure_from_outside(struct worker_arena *arena, int32_t pid)
{
	struct instant from = { arena->gap_wall_ns, arena->gap_cpu_ns }, now = { .wall_ns = now_ns() };
	uint64_t start_ns = arena->release_ns + arena->start_offset_ns;
	struct ktstr_msg_worker *report = &arena->report;

	if (!atomic_load(&arena->gate) || now.wall_ns < start_ns || !process_cpu_ns(pid, &now.cpu_ns))
		return;
	if (!from.wall_ns)
		from.wall_ns = start_ns; /* it never reached its first instruction */
	report->iterations = atomic_load(&arena->iterations);
	report->wall_time_ns = now.wall_ns - start_ns;
	report->cpu_time_ns = now.cpu_ns - arena->start_cpu_ns;
	if (!arena->blocked)
		keep_gap(report, from, now, start_ns, arena->gap_cpu);
}
