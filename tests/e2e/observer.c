// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's own events say of each worker: a payload that reads the trace of a run and prints one
 * JSON object a line, the first one about the trace. The program has enabled the events. Workers are the
 * tasks called worker/<n> that were there when tracing began, each blocked until its release. The argument:
 * a worker that ran so long on one CPU, in us, has looked at where it is.
 *
 * A worker's window is from the waking that releases it to its exit; wakeups count until it is told to
 * stop. It waits from a waking, or from being switched out though it could run, until it is switched in.
 * The waking is when somebody asked for it, and that of a timer begins when it was due; the wakeup follows
 * when it is in a queue, which is on the other CPU when that had to be interrupted. Times are in us, as the
 * text of a trace has them.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE "/sys/kernel/tracing/trace"
#define WORKER " comm=worker/"
#define MAX_PIDS 65536
#define STOP_SIGNAL 10 /* SIGUSR1 */
#define LINE_BYTES 1024

enum state { BLOCKED, WOKEN, PREEMPTED, RUNNING };

struct times {
	uint32_t *us;
	size_t count, room;
};

struct task {
	bool child, released, stopped;
	enum state state;
	uint64_t since; /* when it came to its state */
	uint64_t due; /* its timer, 0 for none */
	uint64_t wakeup, begin, end;
	uint64_t on_cpu, longest_wait; /* the longest that no wakeup began, but for the release */
	uint64_t switches, blocks, migrate_events;
	long cpu, looked_on; /* where it ran last, and where it surely looked last */
	uint64_t stay; /* how long it ran there so far */
	uint64_t moves, sure_moves;
	struct times latencies, from_wakeup;
};

struct event {
	uint64_t at;
	long pid, cpu; /* where it happened */
	char name[32];
	const char *fields;
};

static struct task *tasks[MAX_PIDS];
static uint64_t look_us;

__attribute__((noreturn)) static void fail(const char *why)
{
	printf("{\"error\": \"%s\"}\n", why);
	exit(1);
}

static void add(struct times *times, uint64_t us)
{
	if (times->count == times->room) {
		times->room = times->room ? 2 * times->room : 256;
		times->us = realloc(times->us, times->room * sizeof(*times->us));
		if (!times->us)
			fail("no memory");
	}
	times->us[times->count++] = (uint32_t)us;
}

/* The number behind a key; -1 without it. */
static long number(const char *fields, const char *key)
{
	const char *at = strstr(fields, key);

	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static struct task *find(long pid)
{
	return pid > 0 && pid < MAX_PIDS ? tasks[pid] : NULL;
}

static struct task *find_or_make(long pid)
{
	if (pid <= 0 || pid >= MAX_PIDS)
		fail("a pid out of range");
	if (!tasks[pid]) {
		tasks[pid] = calloc(1, sizeof(*tasks[pid]));
		if (!tasks[pid])
			fail("no memory");
		tasks[pid]->cpu = tasks[pid]->looked_on = -1;
	}
	return tasks[pid];
}

static void become(struct task *task, enum state state, uint64_t at)
{
	task->state = state;
	task->since = at;
}

/* Not of one that runs, or that waits already: it wakes nobody. */
static void on_waking(const struct event *event)
{
	struct task *task;

	if (strncmp(event->fields, WORKER, strlen(WORKER)) != 0)
		return;
	task = find_or_make(number(event->fields, " pid="));
	if (!task->begin)
		task->begin = event->at;
	if (task->state == BLOCKED)
		become(task, WOKEN, task->due && task->due < event->at ? task->due : event->at);
	task->due = 0;
}

/* It goes to sleep. */
static void on_timer(const struct event *event)
{
	struct task *task = find(event->pid);

	if (task && strstr(event->fields, " function=hrtimer_wakeup "))
		task->due = (uint64_t)number(event->fields, " expires=") / 1000;
}

/* Blocked still: its waking came when it was about to block, and had not been switched out. */
static void on_wakeup(const struct event *event)
{
	struct task *task = find(number(event->fields, " pid="));

	if (!task)
		return;
	task->wakeup = event->at;
	if (task->state == BLOCKED)
		become(task, WOKEN, task->since);
}

static void on_child(const struct event *event)
{
	find_or_make(number(event->fields, " pid="))->child = true;
}

static void arrive(struct task *task, long cpu)
{
	if (task->cpu == cpu)
		return;
	task->moves += task->cpu >= 0;
	task->cpu = cpu;
	task->stay = 0;
}

static void switch_in(struct task *task, const struct event *event)
{
	uint64_t waited = event->at - task->since;
	bool woken = task->state == WOKEN && task->released;

	if (!woken && waited > task->longest_wait)
		task->longest_wait = waited;
	if (woken && !task->stopped) {
		add(&task->latencies, waited);
		add(&task->from_wakeup, event->at - task->wakeup);
	}
	task->released = true;
	arrive(task, event->cpu);
	become(task, RUNNING, event->at);
}

static void switch_out(struct task *task, const struct event *event)
{
	const char *state = strstr(event->fields, "prev_state=");
	bool runnable = state && state[strlen("prev_state=")] == 'R';
	uint64_t ran = event->at - task->since;

	task->on_cpu += ran;
	task->stay += ran;
	if (task->stay > look_us && task->looked_on != task->cpu) {
		task->sure_moves += task->looked_on >= 0;
		task->looked_on = task->cpu;
	}
	task->switches++;
	task->blocks += !runnable;
	become(task, runnable ? PREEMPTED : BLOCKED, event->at);
}

static void on_switch(const struct event *event)
{
	struct task *prev = find(number(event->fields, "prev_pid="));
	struct task *next = find(number(event->fields, "next_pid="));

	if (prev && prev->state == RUNNING && !prev->end)
		switch_out(prev, event);
	if (next && next->begin && next->state != RUNNING)
		switch_in(next, event);
}

static void on_migrate(const struct event *event)
{
	struct task *task = find(number(event->fields, " pid="));

	if (task)
		task->migrate_events++;
}

static void on_signal(const struct event *event)
{
	struct task *task = find(number(event->fields, " pid="));

	if (task && number(event->fields, "sig=") == STOP_SIGNAL)
		task->stopped = true;
}

static void on_end(const struct event *event)
{
	struct task *task = find(number(event->fields, " pid="));

	if (!task || task->state != RUNNING)
		return;
	task->on_cpu += event->at - task->since;
	task->end = event->at;
}

static const struct handler {
	const char *name;
	void (*handle)(const struct event *event);
} handlers[] = {
	{ "sched_waking", on_waking },
	{ "sched_wakeup", on_wakeup },
	{ "sched_wakeup_new", on_child },
	{ "sched_switch", on_switch },
	{ "sched_migrate_task", on_migrate },
	{ "signal_generate", on_signal },
	{ "hrtimer_start", on_timer },
	{ "sched_process_exit", on_end },
};

static void handle(const struct event *event)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (strcmp(event->name, handlers[i].name) == 0)
			handlers[i].handle(event);
}

/* "  comm-123   [001] d..2.    12.345678: sched_switch: prev_comm=..." */
static bool parse(const char *line, struct event *ret)
{
	const char *cpu = strstr(line, " ["), *pid = cpu;
	unsigned long long seconds, us;
	int used = 0;

	while (pid && pid > line && *pid != '-')
		pid--;
	if (!cpu || sscanf(cpu, " [%ld] %*s %llu.%6llu: %31[^:]:%n", &ret->cpu, &seconds, &us, ret->name, &used) != 4 ||
	    !used)
		return false;
	ret->pid = strtol(pid + 1, NULL, 10);
	ret->at = seconds * 1000000 + us;
	ret->fields = cpu + used;
	return true;
}

static void print_times(const char *name, const struct times *times)
{
	printf(", \"%s\": [", name);
	for (size_t i = 0; i < times->count; i++)
		printf("%s%u", i ? "," : "", times->us[i]);
	printf("]");
}

static void print_count(const char *name, uint64_t count)
{
	printf(", \"%s\": %llu", name, (unsigned long long)count);
}

static void print_task(long pid, const struct task *task)
{
	printf("{\"tid\": %ld", pid);
	print_count("window", task->end - task->begin);
	print_count("on_cpu", task->on_cpu);
	print_count("longest_wait", task->longest_wait);
	print_count("switches", task->switches);
	print_count("blocks", task->blocks);
	print_count("moves", task->moves);
	print_count("sure_moves", task->sure_moves);
	print_count("migrate_events", task->migrate_events);
	print_times("latencies", &task->latencies);
	print_times("from_wakeup", &task->from_wakeup);
	printf("}\n");
}

static void read_trace(void)
{
	unsigned long long kept = 0, written = 1, events = 0;
	FILE *trace = fopen(TRACE, "r");
	static char line[LINE_BYTES];
	struct event event;

	if (!trace)
		fail("no trace");
	while (fgets(line, sizeof(line), trace)) {
		if (line[0] == '#') {
			sscanf(line, "# entries-in-buffer/entries-written: %llu/%llu", &kept, &written);
			continue;
		}
		if (!parse(line, &event))
			fail("a line that is no event");
		events++;
		handle(&event);
	}
	printf("{\"events\": %llu, \"kept\": %llu, \"written\": %llu}\n", events, kept, written);
}

int main(int argc, char **argv)
{
	look_us = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	read_trace();
	for (long pid = 0; pid < MAX_PIDS; pid++)
		if (tasks[pid] && tasks[pid]->begin && !tasks[pid]->child)
			print_task(pid, tasks[pid]);
	return 0;
}
