// SPDX-License-Identifier: GPL-2.0-only
/* How far workers came, told while they run. */
#include "worker/checkpoint.h"

#include <stdlib.h>

#include "base/run.h"
#include "wire/channel.h"
#include "worker/registry.h"

static bool is_begun(const struct worker *worker)
{
	return worker->pid && atomic_load(&worker->slot->gate) == GATE_OPEN;
}

/* Where it stands: single words, each as it is at this moment. */
static struct ktstr_progress standing(const struct worker *worker)
{
	struct slot *slot = worker->slot;
	struct ktstr_progress now = {
		.worker = worker->id,
		.spawn = worker->spawns - 1,
		.iterations = atomic_load_explicit(&slot->iterations, memory_order_relaxed),
		.work_units = __atomic_load_n(&slot->units, __ATOMIC_RELAXED),
		.migrations = __atomic_load_n(&slot->report.migration_count, __ATOMIC_RELAXED),
		.wakes = __atomic_load_n(&slot->wakes.seen, __ATOMIC_RELAXED),
		.max_gap_ns = atomic_exchange(&slot->phase_gap_ns, 0),
	};
	uint64_t cpu_ns;

	if (measure_cpu_ns(worker->pid, worker->group != NULL, &cpu_ns))
		now.cpu_time_ns = cpu_ns - slot->start_cpu_ns;
	else
		now.cpu_time_ns = worker->told.cpu_time_ns;
	return now;
}

static struct ktstr_progress since(struct ktstr_progress now, const struct ktstr_progress *before)
{
	now.iterations -= before->iterations;
	now.work_units -= before->work_units;
	now.cpu_time_ns -= before->cpu_time_ns;
	now.migrations -= before->migrations;
	now.wakes -= before->wakes;
	return now;
}

void checkpoint_send(uint32_t phase, uint32_t op)
{
	static uint32_t checkpoints, told;
	const struct choice all = { .who = { .cgroup = -1, .work = -1 } };
	struct ktstr_progress progress[KTSTR_PROGRESS_PER_FRAME];
	struct ktstr_msg_checkpoint msg = { .at_ns = run_at_ns(), .phase = phase, .op = op };
	struct worker **chosen;
	uint32_t count = registry_choose(&all, is_begun, &chosen);

	if (checkpoints++ >= KTSTR_MAX_CHECKPOINTS || told + count > KTSTR_MAX_PROGRESS_TOTAL) {
		free(chosen);
		return;
	}
	told += count;
	if (!count)
		channel_send(KTSTR_MSG_CHECKPOINT, &msg, sizeof(msg), NULL, 0);
	for (uint32_t i = 0; i < count; i++) {
		struct ktstr_progress now = standing(chosen[i]);

		progress[msg.count++] = since(now, &chosen[i]->told);
		chosen[i]->told = now;
		if (msg.count < KTSTR_PROGRESS_PER_FRAME && i + 1 < count)
			continue;
		channel_send(KTSTR_MSG_CHECKPOINT, &msg, sizeof(msg), progress, msg.count * sizeof(progress[0]));
		msg.count = 0;
	}
	free(chosen);
}
