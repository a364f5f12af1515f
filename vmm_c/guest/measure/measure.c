// SPDX-License-Identifier: GPL-2.0-only
#include "measure/measure.h"

#include <stdbool.h>

#include "base/cpulist.h"
#include "base/smaller.h"

/* Two clock reads take less than this unless something came between them; try this often. */
#define PAIR_NS 50000
#define PAIR_TRIES 3

struct instant {
	uint64_t wall_ns;
	uint64_t cpu_ns;
};

/* The CPU clock, and what the wall clock was then. */
static struct instant read_instant(struct slot *slot)
{
	struct instant best = { 0 };
	uint64_t best_width = UINT64_MAX;

	for (int i = 0; i < PAIR_TRIES && best_width > PAIR_NS; i++) {
		uint64_t before = now_ns();
		uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		uint64_t width = now_ns() - before;

		slot->report.measuring_calls += 1 + 2 * slot->clock_is_call;
		if (width < best_width) {
			best_width = width;
			best = (struct instant){ before, cpu };
		}
	}
	return best;
}

static void keep_stall(struct slot *slot, uint64_t stall)
{
	if (stall <= slot->report.max_stall_ns)
		return;
	slot->report.max_stall_ns = stall;
	slot->report.max_stall_cpu = slot->cpu;
}

/* The gap from the last look until gap_end, of which at most off_ns were not charged. */
static void keep_gap(struct slot *slot, uint64_t gap_end, uint64_t off_ns)
{
	struct ktstr_msg_worker *report = &slot->report;
	uint64_t gap = gap_end - slot->looked_ns;
	uint64_t off = smaller(off_ns, gap);

	keep_stall(slot, gap - off);
	if (gap <= report->max_gap_ns)
		return;
	report->max_gap_ns = gap;
	report->max_gap_cpu = slot->cpu;
	report->max_gap_at_ns = slot->looked_ns - slot->start_ns;
	report->max_gap_off_cpu_ns = off;
}

static void keep_phase_gap(struct slot *slot, uint64_t gap)
{
	uint64_t largest = atomic_load_explicit(&slot->phase_gap_ns, memory_order_relaxed);

	/* The agent may take it away meanwhile. */
	while (gap > largest && !atomic_compare_exchange_weak(&slot->phase_gap_ns, &largest, gap))
		;
}

/* Not charged since the last reading, blocked time left out. */
static uint64_t off_cpu_ns(const struct slot *slot, struct instant now)
{
	uint64_t wall = now.wall_ns - slot->read_wall_ns, charged = now.cpu_ns - slot->read_cpu_ns;

	return wall > charged ? wall - charged : 0;
}

/* What is known so far, for the case that the worker never gets to its end. */
static void publish(struct slot *slot, struct instant now)
{
	struct ktstr_msg_worker *report = &slot->report;

	report->work_units = slot->units;
	report->iterations = atomic_load_explicit(&slot->iterations, memory_order_relaxed);
	report->wall_time_ns = now.wall_ns - slot->start_ns;
	report->cpu_time_ns = now.cpu_ns - slot->start_cpu_ns;
	report->wake_sample_total = slot->wakes.seen;
	report->samples_stored = slot->wakes.stored;
	report->request_sample_total = slot->requests.seen;
	report->requests_stored = slot->requests.stored;
}

/* Nobody ran it then because the program said so: neither gap nor off CPU. */
static void leave_frozen_out(struct slot *slot, uint64_t now)
{
	uint64_t frozen = smaller(atomic_exchange(&slot->frozen_ns, 0), now - slot->looked_ns);

	slot->looked_ns += frozen;
	slot->read_wall_ns += frozen;
}

uint64_t measure_read(struct slot *slot)
{
	struct instant read = read_instant(slot);

	leave_frozen_out(slot, read.wall_ns);
	keep_phase_gap(slot, read.wall_ns - slot->looked_ns);
	keep_gap(slot, read.wall_ns, off_cpu_ns(slot, read));
	slot->read_wall_ns = read.wall_ns;
	slot->read_cpu_ns = read.cpu_ns;
	publish(slot, read);
	return read.wall_ns;
}

void measure_migrated(struct slot *slot, uint32_t cpu, uint64_t now)
{
	struct ktstr_msg_worker *report = &slot->report;

	if (cpu >= KTSTR_MAX_CPUS)
		return;
	cpumask_set(&report->cpus_used, cpu);
	if (report->migrations_stored < slot->migration_room)
		slot->migrations[report->migrations_stored++] =
			(struct ktstr_migration){ now - slot->start_ns, slot->cpu, cpu };
	report->migration_count++;
	slot->cpu = cpu;
}

void measure_prepare(struct measure *m, struct slot *slot)
{
	*m = (struct measure){ .slot = slot };
	slot->start_cpu_ns = read_instant(slot).cpu_ns;
	slot->read_cpu_ns = slot->start_cpu_ns;
	/* After the CPU clock, which brings it up to date: else what was charged since the last tick counts too. */
	m->has_schedstat = schedstat_read_self(&m->schedstat_start);
	slot->report.measuring_calls = 0;
}

void measure_begin(struct measure *m, uint64_t start_ns)
{
	struct slot *slot = m->slot;

	slot->cpu = (uint32_t)sched_getcpu();
	cpumask_set(&slot->report.cpus_used, slot->cpu);
	slot->report.max_gap_cpu = slot->cpu;
	slot->report.max_stall_cpu = slot->cpu;
	/* From the release, not from here: being kept off the CPU until now is a gap too. */
	slot->read_wall_ns = start_ns;
	slot->looked_ns = start_ns;
	slot->start_ns = start_ns;
	measure_look(slot);
}

uint64_t measure_block(struct measure *m, uint64_t due_ns)
{
	uint64_t now = measure_look(m->slot);

	m->slot->blocked_ns = due_ns ? due_ns : now;
	return now;
}

uint64_t measure_unblock(struct measure *m)
{
	struct slot *slot = m->slot;
	uint64_t now = now_ns();
	uint32_t cpu = (uint32_t)sched_getcpu();

	slot->report.measuring_calls += slot->clock_is_call;
	slot->read_wall_ns += now - slot->looked_ns;
	slot->looked_ns = now;
	slot->blocked_ns = 0;
	m->frozen = atomic_exchange(&slot->frozen_ns, 0) != 0;
	if (cpu != slot->cpu)
		measure_migrated(slot, cpu, now);
	return now;
}

void measure_wake(struct measure *m, uint64_t latency_ns)
{
	if (!m->frozen)
		reservoir_add(&m->slot->wakes, latency_ns);
}

/* A wakeup that did not come is the longest its victim waited for, and no gap. */
static void close_wait(struct slot *slot, uint64_t now)
{
	uint64_t waited = now > slot->blocked_ns ? now - slot->blocked_ns : 0;

	if (!slot->blocked_ns || !waited || atomic_load(&slot->frozen_ns))
		return;
	slot->report.open_wait_ns = waited;
	reservoir_add(&slot->wakes, waited);
}

void measure_end(struct measure *m)
{
	struct ktstr_msg_worker *report = &m->slot->report;
	struct schedstat end;

	if (m->slot->blocked_ns) {
		close_wait(m->slot, now_ns());
		measure_unblock(m);
	}
	measure_look(m->slot);
	m->slot->looked_ns = measure_read(m->slot);
	if (m->has_schedstat && schedstat_read_self(&end)) {
		report->schedstat_cpu_time_ns = end.run_ns - m->schedstat_start.run_ns;
		report->schedstat_run_delay_ns = end.run_delay_ns - m->schedstat_start.run_delay_ns;
		report->schedstat_run_count = end.timeslices - m->schedstat_start.timeslices;
		report->has_schedstat = 1;
	}
	atomic_thread_fence(memory_order_release);
	report->completed = 1;
}

static bool thread_cpu_ns(int32_t tid, uint64_t *ret)
{
	struct schedstat stat;

	if (!schedstat_read(tid, &stat))
		return false;
	*ret = stat.run_ns;
	return true;
}

bool measure_cpu_ns(int32_t tid, bool is_thread, uint64_t *ret)
{
	struct timespec cpu;
	clockid_t clock;

	if (is_thread)
		return thread_cpu_ns(tid, ret);
	if (clock_getcpuclockid(tid, &clock) != 0 || clock_gettime(clock, &cpu) < 0)
		return false;
	*ret = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	return true;
}

void measure_from_outside(struct slot *slot, int32_t tid, bool is_thread)
{
	struct instant now = { .wall_ns = now_ns() };

	if (atomic_load(&slot->gate) != GATE_OPEN || !measure_cpu_ns(tid, is_thread, &now.cpu_ns))
		return;
	if (!slot->start_ns) { /* it never reached its first instruction */
		slot->start_ns = slot->release_ns + slot->start_offset_ns;
		slot->read_wall_ns = slot->start_ns;
		slot->looked_ns = slot->start_ns;
	}
	if (now.wall_ns < slot->start_ns)
		return;
	if (slot->blocked_ns) {
		close_wait(slot, now.wall_ns);
	} else {
		leave_frozen_out(slot, now.wall_ns);
		keep_gap(slot, now.wall_ns, off_cpu_ns(slot, now));
	}
	publish(slot, now);
}
