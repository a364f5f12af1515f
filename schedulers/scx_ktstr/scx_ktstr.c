// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loader of scx_ktstr. The scheduler is attached by a bpf_link that this process
 * holds: however it ends, the kernel goes back to its own scheduler.
 */
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "cpuset.h"
#include "options.h"
#include "scx_ktstr.skel.h"

enum {
	EXIT_LOAD = 1,		/* not loaded or not attached */
	EXIT_EVICTED = 3,	/* the kernel let go of it, unasked */
	POLL_NS = 100 * 1000 * 1000,
};

static const long long NSEC_PER_SEC = 1000000000LL;
static const unsigned long long NSEC_PER_USEC = 1000ULL;
static const char SCHED_EXT_SYSFS[] = "/sys/kernel/sched_ext";

static int print_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static long long after_ns(long seconds)
{
	return seconds == NEVER ? -1 : seconds * NSEC_PER_SEC;
}

static void set_faults(struct scx_ktstr *skel, const struct options *options)
{
	skel->rodata->stall_after_ns = after_ns(options->stall_after_s);
	skel->rodata->error_after_ns = after_ns(options->error_after_s);
	skel->rodata->degrade_after_ns = after_ns(options->degrade_after_s);
	skel->rodata->ignores_affinity = options->ignore_affinity;
	skel->rodata->prints = options->print;
	skel->rodata->floods_local = options->flood_local;
	skel->rodata->ignores_weights = options->unfair_weights;
	skel->rodata->ignores_limits = options->ignore_cpu_max;
	skel->rodata->ignores_online = options->ignore_online;
	skel->rodata->uses_offline = options->use_offline;
	skel->rodata->fails_verification = options->fail_verify;
	skel->rodata->calls_missing_kfunc = options->fail_kfunc;
	skel->rodata->loses_every = options->lose_wakeups;
	skel->rodata->race_ns = options->lose_races_us * NSEC_PER_USEC;
	skel->rodata->dispatch_delay_us = options->slow_dispatch_us;
	skel->rodata->verified_loops = options->verify_loop;
	skel->rodata->cpus = libbpf_num_possible_cpus();
	if (options->starve)
		strcpy((char *)skel->rodata->starved_cgroup, options->starve);
	if (!options->leak_dsq)
		skel->struct_ops.ktstr_ops->init_task = NULL;
	bpf_map__set_autocreate(skel->maps.refused_map, options->fail_map);
	if (options->fail_map)
		bpf_map__set_max_entries(skel->maps.refused_map, ~0u);
}

/* Whether the kernel has a member of that name: to look for its text is ten times faster than to parse its types. */
static bool has_op(const char *btf, size_t size, const char *name)
{
	char text[64] = "";	/* between the ends of two strings */

	strcpy(text + 1, name);
	return memmem(btf, size, text, strlen(name) + 2);
}

/* The kernel's own types; NULL when they cannot be read. */
static char *read_btf(size_t *size)
{
	FILE *file = fopen("/sys/kernel/btf/vmlinux", "re");
	struct stat status = { 0 };
	char *btf = file && !fstat(fileno(file), &status) ? malloc(status.st_size) : NULL;

	*size = btf ? fread(btf, 1, status.st_size, file) : 0;
	if (file)
		fclose(file);
	return btf;
}

/* Take out what this kernel does not call: of cgroups all or nothing, and limits since 6.17. */
static void fit_kernel(struct scx_ktstr *skel)
{
	size_t size;
	char *btf = read_btf(&size);

	if (btf && !has_op(btf, size, "cgroup_set_bandwidth"))
		skel->struct_ops.ktstr_ops->cgroup_set_bandwidth = NULL;
	if (btf && !has_op(btf, size, "cgroup_prep_move")) {
		skel->struct_ops.ktstr_ops->cgroup_init = NULL;
		skel->struct_ops.ktstr_ops->cgroup_exit = NULL;
		skel->struct_ops.ktstr_ops->cgroup_set_weight = NULL;
	}
	free(btf);
}

static struct scx_ktstr *load(const struct options *options)
{
	struct scx_ktstr *skel = scx_ktstr__open();

	if (!skel)
		return NULL;
	set_faults(skel, options);
	fit_kernel(skel);
	if (options->slice_us)
		skel->rodata->slice_ns = options->slice_us * NSEC_PER_USEC;
	skel->struct_ops.ktstr_ops->timeout_ms = options->timeout_ms;
	if (!scx_ktstr__load(skel))
		return skel;
	scx_ktstr__destroy(skel);
	return NULL;
}

static int exit_kind(const struct scx_ktstr *skel)
{
	return *(const volatile int *)&skel->bss->exit_record.kind;
}

/* Waits for SIGINT, SIGTERM or eviction. Eviction has no event to wait for: look at 10 Hz. */
static void wait_for_end(const struct scx_ktstr *skel, const struct options *options, const sigset_t *signals)
{
	const struct timespec poll = { .tv_nsec = POLL_NS };

	while (!exit_kind(skel) && sigtimedwait(signals, NULL, &poll) < 0)
		widen_cpusets(options->ignore_cpuset);
}

static void print_eviction(const struct scx_ktstr *skel)
{
	const struct ktstr_exit *record = &skel->bss->exit_record;

	fprintf(stderr, "scx_ktstr: evicted by the kernel: %s", record->reason);
	if (record->msg[0])
		fprintf(stderr, " (%s)", record->msg);
	fprintf(stderr, " [kind %d, code %lld]\n", record->kind, record->code);
}

/* By now the kernel has called ops.exit, asked by us or not. */
static int report_end(const struct scx_ktstr *skel, bool evicted)
{
	if (!evicted && !skel->bss->exit_record.is_error) {
		printf("scx_ktstr: detached\n");
		return EXIT_SUCCESS;
	}
	print_eviction(skel);
	return EXIT_EVICTED;
}

static int attach_and_run(struct scx_ktstr *skel, const struct options *options, const sigset_t *signals)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(skel->maps.ktstr_ops);
	bool evicted;

	if (!link) {
		fprintf(stderr, "scx_ktstr: cannot attach: %s%s\n", strerror(errno),
			errno == EBUSY ? " (another sched_ext scheduler is attached)" : "");
		if (exit_kind(skel))
			print_eviction(skel);
		return EXIT_LOAD;
	}
	printf("scx_ktstr: attached\n");
	wait_for_end(skel, options, signals);
	evicted = exit_kind(skel);
	bpf_link__destroy(link);
	return report_end(skel, evicted);
}

int main(int argc, char **argv)
{
	struct options options = {
		.timeout_ms = TIMEOUT_MS_DEFAULT,
		.stall_after_s = NEVER, .error_after_s = NEVER, .degrade_after_s = NEVER,
	};
	struct scx_ktstr *skel;
	sigset_t signals;
	int status = parse_options(argc, argv, &options);

	if (status >= 0)
		return status;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (access(SCHED_EXT_SYSFS, F_OK)) {
		fprintf(stderr, "scx_ktstr: this kernel has no sched_ext: %s is missing"
			" (needs Linux 6.12 or later with CONFIG_SCHED_CLASS_EXT)\n", SCHED_EXT_SYSFS);
		return EXIT_LOAD;
	}

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	libbpf_set_print(options.quiet ? NULL : print_warnings);

	skel = load(&options);
	if (!skel) {
		if (!options.quiet)
			fprintf(stderr, "scx_ktstr: cannot load: %s\n", strerror(errno));
		return EXIT_LOAD;
	}
	status = attach_and_run(skel, &options, &signals);
	scx_ktstr__destroy(skel);
	return status;
}
