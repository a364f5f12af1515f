// SPDX-License-Identifier: GPL-2.0-only
#include "worker/registry.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/events.h"
#include "base/run.h"
#include "proc/cgroup.h"
#include "wire/errors.h"
#include "worker/arena.h"
#include "worker/report.h"

_Static_assert(SLOT_PATH_BYTES == CGROUP_PATH_BYTES, "a slot has room for any cgroup");

static const struct program *program;
static struct worker *workers;
static uint32_t *in_order; /* worker ids by the order of their release */
static uint32_t total;

static void tell_refusal(const struct worker *worker)
{
	static const char *const what[] = {
		[REFUSED_THREAD] = "begin its thread",
		[REFUSED_PIPES] = "make its pipes",
		[REFUSED_NAMESPACE] = "have a cgroup namespace of its own",
		[REFUSED_MEM_POLICY] = "set its memory policy",
		[REFUSED_MEMORY] = "have the memory that its work type works in",
		[REFUSED_FILE] = "have its temporary file",
		[REFUSED_SIBLINGS] = "run on two threads of one core with its partner",
		[REFUSED_PARTNER] = "have a file of one that it works with",
		[REFUSED_POLICY] = "change its policy",
		[REFUSED_CGROUPS] = "make cgroups below its own",
	};
	const struct slot *slot = worker->slot;

	if (slot->refused && slot->refused < sizeof(what) / sizeof(what[0]))
		run_error("worker %u: cannot %s: %s", worker->id, what[slot->refused], strerror(slot->error));
}

void registry_gone(struct worker *worker, int status)
{
	worker->pid = 0;
	worker->status = status;
	tell_refusal(worker);
}

static bool on_child(pid_t pid, int status)
{
	for (uint32_t i = 0; i < total; i++)
		if (workers[i].pid == pid && !workers[i].group) {
			registry_gone(&workers[i], status);
			return true;
		}
	return false;
}

bool registry_make(const struct program *of)
{
	program = of;
	total = program_count(program, KTSTR_TABLE_WORKERS);
	workers = calloc(total ? total : 1, sizeof(*workers));
	in_order = calloc(total ? total : 1, sizeof(*in_order));
	if (!workers || !in_order || !arena_make(program))
		return false;
	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_WORKS); i++)
		for (uint32_t k = 0; k < program->works[i].worker_count; k++) {
			uint32_t id = program->works[i].first_worker + k;

			workers[id] = (struct worker){ .id = id, .work = &program->works[i], .work_id = i,
						.affinity = program->workers[id].affinity };
			in_order[program->workers[id].order] = id;
		}
	events_on_child(on_child);
	return true;
}

const struct ktstr_work *registry_work(uint32_t work)
{
	return &program->works[work];
}

const struct work_type *registry_type(uint32_t work)
{
	return work_type(program->works[work].type);
}

const struct ktstr_cpumask *registry_mask(uint32_t mask)
{
	return program_mask(program, mask);
}

const char *registry_string(uint32_t at)
{
	return program_string(program, at);
}

uint32_t registry_workers(void)
{
	return total;
}

struct worker *registry_worker(uint32_t id)
{
	return &workers[id];
}

void registry_prepare(struct worker *worker, uint32_t work, struct made made)
{
	if ((worker->id - worker->work->first_worker) % work_group(worker->work) == 0)
		arena_clear_group(worker->id);
	if (worker->slot)
		worker->past_iterations += atomic_load(&worker->slot->iterations);
	worker->slot = arena_slot(program, work, worker->id, worker->spawns++);
	if (worker->slot->own_namespace && worker->work->cgroup >= 0)
		cgroup_file((uint32_t)worker->work->cgroup, "", worker->slot->cgroup_path);
	worker->spawned = true;
	worker->timed_out = worker->reported = false;
	worker->status = 0;
	worker->migrated = KTSTR_UNKNOWN_MIGRATED;
	worker->made = made;
	worker->cgroup = worker->work->cgroup;
	worker->told = (struct ktstr_progress){ 0 };
}

static void describe_exit(struct worker *worker)
{
	struct ktstr_msg_worker *report = &worker->slot->report;

	if (report->completed)
		return;
	if (worker->timed_out || worker->pid) {
		report->exit_kind = KTSTR_EXIT_TIMED_OUT;
	} else if (WIFEXITED(worker->status)) {
		report->exit_kind = KTSTR_EXIT_EXITED;
		report->exit_code = WEXITSTATUS(worker->status);
	} else {
		report->exit_kind = KTSTR_EXIT_SIGNALED;
		report->exit_code = WTERMSIG(worker->status);
	}
}

/* Since its release; the kernel may not count them. */
static uint64_t since_release(const struct worker *worker, uint64_t migrated)
{
	if (migrated == KTSTR_UNKNOWN_MIGRATED || worker->migrated == KTSTR_UNKNOWN_MIGRATED)
		return KTSTR_UNKNOWN_MIGRATED;
	return migrated - worker->migrated;
}

void registry_end(struct worker *worker, uint64_t migrated)
{
	static uint32_t reports;

	worker->reported = true;
	if (!worker->slot->report.tid || reports++ >= KTSTR_MAX_REPORTS)
		return; /* it was never forked: an error said so */
	describe_exit(worker);
	report_worker(worker->slot, since_release(worker, migrated));
}

static bool is_chosen(const struct worker *worker, const struct choice *choice)
{
	const struct ktstr_selector *who = &choice->who;
	uint32_t at = worker->id - worker->work->first_worker;

	if (choice->only_scope && worker->made.scope != choice->only_scope)
		return false;
	if (!made_matches(&worker->made, who->scope, choice->step))
		return false;
	if (who->cgroup >= 0 && worker->cgroup != who->cgroup)
		return false;
	if (who->work >= 0 && worker->work_id != (uint32_t)who->work)
		return false;
	return !who->worker_count || (at >= who->first_worker && at - who->first_worker < who->worker_count);
}

uint32_t registry_choose(const struct choice *choice, bool (*is_so)(const struct worker *), struct worker ***ret)
{
	struct worker **chosen = calloc(total ? total : 1, sizeof(*chosen));
	uint32_t count = 0;

	for (uint32_t i = 0; i < total && chosen; i++) {
		struct worker *worker = &workers[in_order[i]];

		if (worker->spawned && is_so(worker) && is_chosen(worker, choice))
			chosen[count++] = worker;
	}
	*ret = chosen;
	return count;
}

uint64_t registry_iterations(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < total; i++)
		if (workers[i].slot)
			sum += workers[i].past_iterations +
			       atomic_load_explicit(&workers[i].slot->iterations, memory_order_relaxed);
	return sum;
}
