// SPDX-License-Identifier: GPL-2.0-only
#include "worker/report.h"

#include "base/smaller.h"
#include "measure/schedstat.h"
#include "wire/channel.h"

static struct schedstat_cpus *vcpus_before, *vcpus_after;

static void send_migrations(const struct slot *slot, uint32_t stored)
{
	for (uint32_t at = 0; at < stored; at += KTSTR_MIGRATIONS_PER_FRAME) {
		struct ktstr_msg_migrations msg = {
			.worker = slot->report.index,
			.count = smaller(stored - at, KTSTR_MIGRATIONS_PER_FRAME),
		};

		channel_send(KTSTR_MSG_MIGRATIONS, &msg, sizeof(msg), slot->migrations + at,
			     msg.count * sizeof(slot->migrations[0]));
	}
}

static void send_samples(const struct slot *slot, enum ktstr_series series, const uint64_t *samples, uint32_t stored)
{
	for (uint32_t at = 0; at < stored; at += KTSTR_SAMPLES_PER_FRAME) {
		struct ktstr_msg_samples msg = {
			.worker = slot->report.index,
			.series = series,
			.count = smaller(stored - at, KTSTR_SAMPLES_PER_FRAME),
		};

		channel_send(KTSTR_MSG_SAMPLES, &msg, sizeof(msg), samples + at, msg.count * sizeof(samples[0]));
	}
}

static void send_pages(const struct slot *slot, uint64_t migrated)
{
	struct ktstr_msg_pages msg = {
		.worker = slot->report.index,
		.count = smaller(slot->page_nodes, KTSTR_MAX_NODES),
		.migrated = migrated,
	};

	if (slot->pages && msg.count)
		channel_send(KTSTR_MSG_PAGES, &msg, sizeof(msg), slot->pages, msg.count * sizeof(slot->pages[0]));
}

void report_worker(const struct slot *slot, uint64_t migrated)
{
	struct ktstr_msg_worker report = slot->report;

	/* One that cannot be killed may still write: the counts that were sent are those that follow. */
	report.migrations_stored = smaller(report.migrations_stored, slot->migration_room);
	report.samples_stored = smaller(report.samples_stored, slot->wakes.capacity);
	report.requests_stored = smaller(report.requests_stored, slot->requests.capacity);
	channel_send(KTSTR_MSG_WORKER, &report, sizeof(report), NULL, 0);
	send_migrations(slot, report.migrations_stored);
	send_samples(slot, KTSTR_SERIES_WAKES, slot->wakes.samples, report.samples_stored);
	send_samples(slot, KTSTR_SERIES_REQUESTS, slot->requests.samples, report.requests_stored);
	send_pages(slot, migrated);
}

void report_vcpus_begin(void)
{
	if (!vcpus_before)
		vcpus_before = schedstat_cpus_read();
}

void report_vcpus_end(void)
{
	if (!vcpus_before)
		return;
	schedstat_cpus_free(vcpus_after);
	vcpus_after = schedstat_cpus_read();
}

void report_vcpus_send(void)
{
	for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu++) {
		struct ktstr_msg_vcpu msg = { .cpu = cpu };
		struct schedstat delta;

		if (!schedstat_cpus_delta(vcpus_before, vcpus_after, cpu, &delta))
			continue;
		msg.run_ns = delta.run_ns;
		msg.run_delay_ns = delta.run_delay_ns;
		msg.timeslices = delta.timeslices;
		channel_send(KTSTR_MSG_VCPU, &msg, sizeof(msg), NULL, 0);
	}
}
