// SPDX-License-Identifier: GPL-2.0-only
#include "report.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "channel.h"
#include "run.h"
#include "schedstat.h"

static struct schedstat_cpus *vcpus_before;

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void send_migrations(const struct worker_arena *arena, uint32_t stored)
{
	for (uint32_t at = 0; at < stored; at += KTSTR_MIGRATIONS_PER_FRAME) {
		struct ktstr_msg_migrations msg = {
			.worker = arena->report.index,
			.count = smaller(stored - at, KTSTR_MIGRATIONS_PER_FRAME),
		};

		channel_send(KTSTR_MSG_MIGRATIONS, &msg, sizeof(msg), arena->migrations + at,
			     msg.count * sizeof(arena->migrations[0]));
	}
}

static void send_samples(const struct worker_arena *arena, uint32_t stored)
{
	for (uint32_t at = 0; at < stored; at += KTSTR_SAMPLES_PER_FRAME) {
		struct ktstr_msg_samples msg = {
			.worker = arena->report.index,
			.count = smaller(stored - at, KTSTR_SAMPLES_PER_FRAME),
		};

		channel_send(KTSTR_MSG_SAMPLES, &msg, sizeof(msg), arena->samples + at,
			     msg.count * sizeof(arena->samples[0]));
	}
}

void report_worker(const struct worker_arena *arena)
{
	struct ktstr_msg_worker report = arena->report;

	/* One that cannot be killed may still write: the counts that were sent are those that follow. */
	report.migrations_stored = smaller(report.migrations_stored, KTSTR_MAX_MIGRATIONS);
	report.samples_stored = smaller(report.samples_stored, arena->wakes.capacity);
	channel_send(KTSTR_MSG_WORKER, &report, sizeof(report), NULL, 0);
	send_migrations(arena, report.migrations_stored);
	send_samples(arena, report.samples_stored);
}

void report_vcpus_begin(void)
{
	schedstat_cpus_free(vcpus_before);
	vcpus_before = schedstat_cpus_read();
}

void report_vcpus_send(void)
{
	struct schedstat_cpus *after = vcpus_before ? schedstat_cpus_read() : NULL;

	for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu++) {
		struct ktstr_msg_vcpu msg = { .cpu = cpu };
		struct schedstat delta;

		if (!schedstat_cpus_delta(vcpus_before, after, cpu, &delta))
			continue;
		msg.run_ns = delta.run_ns;
		msg.run_delay_ns = delta.run_delay_ns;
		msg.timeslices = delta.timeslices;
		channel_send(KTSTR_MSG_VCPU, &msg, sizeof(msg), NULL, 0);
	}
	schedstat_cpus_free(after);
	schedstat_cpus_free(vcpus_before);
	vcpus_before = NULL;
}

void run_error(const char *format, ...)
{
	char text[KTSTR_MAX_TEXT_BYTES];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	channel_send(KTSTR_MSG_ERROR, text, n > 0 ? (size_t)n : 0, NULL, 0);
	run_abort(KTSTR_END_ERROR);
}
