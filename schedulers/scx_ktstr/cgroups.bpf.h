/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpu.weight and cpu.max, which the kernel leaves to a sched_ext scheduler.
 *
 * Nothing here is in use until a cgroup has a weight other than 100, or a limit. From then on each cgroup's tasks wait
 * in a queue of their own, and a CPU takes from that of the cgroup which has had the least time by its weight and is
 * within its limit. What a task is about to run is charged to its cgroup in advance, and what it did not is given back:
 * so CPUs that pick at the same time do not all pick the same cgroup, nor together run more than its limit.
 */
#ifndef CGROUPS_BPF_H
#define CGROUPS_BPF_H

enum {
	CGROUPS = 64,		/* that have a queue of their own; those beyond share that of the root */
	CGROUP_DSQS = 64,	/* and on: one for each place */
	CGROUP_DEPTH = 10,	/* of cgroups that limit each other */
	WEIGHT_DFL = 100,	/* cpu.weight */
};

#define REFILL_NS	(5 * MSEC)	/* how often limits are looked at */
#define GRANT_MIN_NS	(1 * MSEC)
#define UNLIMITED_US	(~0ULL)		/* what the kernel calls a quota of "max" */

struct cgroup_place {
	u64 id;			/* 0: nobody's */
	u64 vtime;		/* what it ran, in time of weight 100 */
	u64 quota_ns;		/* in each period; 0: no limit */
	u64 period_ns;
	u64 burst_ns;
	u64 refilled_at_ns;
	s64 budget_ns;		/* of its quota; below 0 what it owes to the next period */
	u32 weight;
	u32 parent;		/* its place; the root's is 0 */
};

static struct cgroup_place places[CGROUPS];
static bool by_cgroup;		/* whether cgroups matter by now */
static u64 vtime_now;		/* of the cgroup that was last picked */
static u64 started_at_ns[KTSTR_MAX_CPUS];
static u64 granted_ns[KTSTR_MAX_CPUS];

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CGROUPS);
	__type(key, u64);
	__type(value, u32);
} place_of_id SEC(".maps");

struct refill {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct refill);
} refills SEC(".maps");

/* Of the kernel's clocks: a macro, hence not in BTF. */
#define CLOCK_MONOTONIC	1

static __always_inline struct cgroup_place *place_at(u32 at)
{
	barrier_var(at);
	return &places[at < CGROUPS ? at : 0];
}

static __always_inline u32 place_of(u64 cgroup_id)
{
	u32 *found = bpf_map_lookup_elem(&place_of_id, &cgroup_id);

	return found ? *found : 0;
}

static __always_inline u32 place_of_task(const struct task_struct *p)
{
	return place_of(BPF_CORE_READ(p, sched_task_group, css.cgroup, kn, id));
}

/* Functions that are not static are verified by themselves, once: inlined, their loops would multiply. */

/* What of its slice a task may run by the limits of its cgroup and of those around it; 0 or less: it has to wait. */
__noinline s64 allowance(u32 at, s64 slice)
{
	struct cgroup_place *place;

	for (int level = 0; level < CGROUP_DEPTH; level++) {
		place = place_at(at);
		if (place->quota_ns && place->budget_ns < slice)
			slice = place->budget_ns;
		if (!at)
			break;
		at = place->parent;
	}
	return slice;
}

static __always_inline bool may_run(u32 at)
{
	return allowance(at, GRANT_MIN_NS) > 0;
}

static __always_inline bool is_over_limit(const struct task_struct *p)
{
	return by_cgroup && !may_run(place_of_task(p));
}

/* Time that a cgroup's task is granted, or gives back. */
__noinline int charge(u32 at, u64 ns, bool back)
{
	struct cgroup_place *place = place_at(at);
	u64 vtime = ns * WEIGHT_DFL / (place->weight ?: WEIGHT_DFL);

	__sync_fetch_and_add(&place->vtime, back ? -vtime : vtime);
	for (int level = 0; level < CGROUP_DEPTH; level++) {
		place = place_at(at);
		if (place->quota_ns)
			__sync_fetch_and_add(&place->budget_ns, back ? (s64)ns : -(s64)ns);
		if (!at)
			break;
		at = place->parent;
	}
	return 0;
}

/* A task begins to run, or goes on. */
static __always_inline void begin_charge(struct task_struct *p, s32 cpu)
{
	u32 at = place_of_task(p);
	s64 grant = allowance(at, p->scx.slice);

	if (!by_cgroup || p->flags & KTHREAD || (u32)cpu >= KTSTR_MAX_CPUS)
		return;
	if (grant < (s64)GRANT_MIN_NS)
		grant = GRANT_MIN_NS;
	if (grant < (s64)p->scx.slice)
		task_set_slice(p, grant);
	started_at_ns[cpu] = bpf_ktime_get_ns();
	granted_ns[cpu] = grant;
	charge(at, grant, false);
}

/* It has run until now. */
static __always_inline void end_charge(const struct task_struct *p, s32 cpu)
{
	u64 granted, used;

	if ((u32)cpu >= KTSTR_MAX_CPUS || !started_at_ns[cpu])
		return;
	used = bpf_ktime_get_ns() - started_at_ns[cpu];
	granted = granted_ns[cpu];
	started_at_ns[cpu] = 0;
	charge(place_of_task(p), used > granted ? used - granted : granted - used, granted > used);
}

enum next { NOBODY, MOVED, GOES_ON };

/* Which cgroup is to be next, of those that were not tried yet. */
struct pick {
	u64 tried;
	u64 vtime;
	s32 best;
	s32 running;	/* whose task has just run here, and could go on; negative: none */
	enum next next;
};

static long consider(u32 at, struct pick *pick)
{
	struct cgroup_place *place = place_at(at);

	if (at >= CGROUPS || !place->id || pick->tried & 1ULL << at)
		return 0;
	if (pick->best >= 0 && (s64)(place->vtime - pick->vtime) >= 0)
		return 0;
	if (scx_bpf_dsq_nr_queued___k(CGROUP_DSQS + at) <= 0 && (s32)at != pick->running)
		return 0;
	if (!may_run(at))
		return 0;
	pick->best = at;
	pick->vtime = place->vtime;
	return 0;
}

static long pick_next(u32 attempt, struct pick *pick)
{
	pick->best = -1;
	bpf_loop(CGROUPS, consider, pick, 0);
	if (pick->best < 0 || pick->best >= CGROUPS)
		return 1;
	pick->tried |= 1ULL << pick->best;
	if (dsq_move_to_local(CGROUP_DSQS + pick->best))	/* not if none may run on this CPU */
		pick->next = MOVED;
	else if (pick->best == pick->running)
		pick->next = GOES_ON;
	if (pick->next != NOBODY)
		vtime_now = pick->vtime;
	return pick->next != NOBODY;
}

/* Whether a task of the cgroup whose turn it is was moved to this CPU, or the one that ran goes on. */
__noinline int next_by_cgroup(s32 running)
{
	struct pick pick = { .running = running };

	bpf_loop(CGROUPS, pick_next, &pick, 0);
	return pick.next;
}

/* The queue of a task's cgroup; one that slept does not save up its turns. */
static __always_inline u64 cgroup_queue(const struct task_struct *p)
{
	u32 at = place_of_task(p);
	struct cgroup_place *place = place_at(at);

	if ((s64)(vtime_now - place->vtime) > (s64)SLICE_MAX_NS)
		place->vtime = vtime_now - SLICE_MAX_NS;
	return CGROUP_DSQS + at;
}

static long kick_idle(u32 cpu, void *unused)
{
	scx_bpf_kick_cpu___k(cpu, SCX_KICK_IDLE);
	return 0;
}

static long refill_place(u32 at, bool *limited)
{
	struct cgroup_place *place = place_at(at);
	u64 periods, now = bpf_ktime_get_ns();
	s64 spare;

	if (!place->quota_ns || !place->period_ns)
		return 0;
	*limited = true;
	periods = (now - place->refilled_at_ns) / place->period_ns;
	if (!periods)
		return 0;
	place->refilled_at_ns += periods * place->period_ns;
	__sync_fetch_and_add(&place->budget_ns, periods * place->quota_ns);
	spare = place->budget_ns - (s64)(place->quota_ns + place->burst_ns);
	if (spare > 0)
		__sync_fetch_and_add(&place->budget_ns, -spare);
	return 0;
}

static long is_waiting(u32 at, bool *waits)
{
	*waits = scx_bpf_dsq_nr_queued___k(CGROUP_DSQS + at) > 0 && may_run(at);
	return *waits;
}

static int refill(void *map, u32 *key, struct refill *refill)
{
	bool limited = false, waits = false;

	bpf_loop(CGROUPS, refill_place, &limited, 0);
	bpf_loop(CGROUPS, is_waiting, &waits, 0);
	if (waits)
		bpf_loop(cpus, kick_idle, NULL, 0);
	if (limited)
		bpf_timer_start(&refill->timer, REFILL_NS, 0);
	return 0;
}

static __always_inline s32 make_refill_timer(void)
{
	u32 key = 0;
	struct refill *made = bpf_map_lookup_elem(&refills, &key);

	if (!made)
		return -2;
	return bpf_timer_init(&made->timer, &refills, CLOCK_MONOTONIC) ?: bpf_timer_set_callback(&made->timer, refill);
}

static __always_inline void weigh(u32 at, u32 weight)
{
	if (ignores_weights)
		return;
	place_at(at)->weight = weight;
	if (weight != WEIGHT_DFL)
		by_cgroup = true;
}

static __always_inline void limit(u32 at, u64 period_us, u64 quota_us, u64 burst_us)
{
	struct cgroup_place *place = place_at(at);
	u32 key = 0;
	struct refill *refill = bpf_map_lookup_elem(&refills, &key);

	if (ignores_limits || !at || !refill)
		return;
	if (!quota_us || quota_us == UNLIMITED_US) {
		place->quota_ns = 0;
		return;
	}
	place->period_ns = period_us * 1000;
	place->burst_ns = burst_us * 1000;
	place->budget_ns = quota_us * 1000;
	place->refilled_at_ns = bpf_ktime_get_ns();
	place->quota_ns = quota_us * 1000;
	by_cgroup = true;
	bpf_timer_start(&refill->timer, REFILL_NS, 0);
}

static long find_free(u32 at, s32 *free)
{
	if (place_at(at)->id)
		return 0;
	*free = at;
	return 1;
}

/* A place and a queue for a cgroup; where all are taken, it has those of the root. */
static __always_inline s32 add_cgroup(u64 id, u64 parent_id, u32 weight)
{
	struct cgroup_place *place;
	s32 err, free = -1;
	u32 at;

	bpf_loop(CGROUPS, find_free, &free, 0);
	if (free < 0)
		return 0;
	at = free;
	err = bpf_map_update_elem(&place_of_id, &id, &at, 0) ?: scx_bpf_create_dsq___k(CGROUP_DSQS + at, -1);
	if (err)
		return err;
	place = place_at(at);
	*place = (struct cgroup_place){ .id = id, .vtime = vtime_now, .weight = WEIGHT_DFL };
	place->parent = place_of(parent_id);
	weigh(at, weight);
	return 0;
}

static __always_inline void remove_cgroup(u64 id)
{
	u32 at = place_of(id);

	if (!at)
		return;
	bpf_map_delete_elem(&place_of_id, &id);
	scx_bpf_destroy_dsq___k(CGROUP_DSQS + at);
	place_at(at)->quota_ns = 0;
	place_at(at)->id = 0;
}

#endif
