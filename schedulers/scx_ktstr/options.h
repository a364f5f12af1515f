/* SPDX-License-Identifier: GPL-2.0-only */
/* The command line of scx_ktstr. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scx_ktstr.h"

enum {
	EXIT_USAGE = 2,
	TIMEOUT_MS_DEFAULT = 2000,
	TIMEOUT_MS_MAX = 30000,		/* SCX_WATCHDOG_MAX_TIMEOUT */
	LATEST_S = 1000000000,
	NEVER = -1,
};

/* All that can be asked for; NEVER and 0 are what is not. Times are since the attach. */
struct options {
	long timeout_ms;
	long slice_us;			/* 0: the BPF half's own */
	long stall_after_s;
	long error_after_s;
	long degrade_after_s;
	long lose_wakeups;
	long lose_races_us;
	long slow_dispatch_us;
	long verify_loop;
	long ignore_affinity, flood_local, leak_dsq;
	long unfair_weights, ignore_cpu_max, ignore_online, use_offline;
	long print, fail_verify, fail_map, fail_kfunc, quiet;
	const char *starve, *ignore_cpuset;	/* cgroups; NULL: none */
};

static const char USAGE[] =
	"usage: scx_ktstr [OPTION]...\n"
	"\n"
	"  --timeout-ms N         a task that waits longer gets the scheduler evicted\n"
	"                         (1 to 30000, default 2000)\n"
	"  --slice-us N           how long a task of nice 0 runs in its turn\n"
	"                         (1000 to 40000, default 10000, as the BPF half has it)\n"
	"  --help                 print this\n"
	"\n"
	"What makes it wrong, none of it unless asked for:\n"
	"  --stall-after SECONDS  dispatch nothing from then on; 0: from the start\n"
	"  --error-after SECONDS  end with an error of its own\n"
	"  --degrade-after SECONDS  start no task on an idle CPU any more, and make turns long\n"
	"  --starve CGROUP        let tasks of the cgroup of this name wait 4 s for each turn\n"
	"  --ignore-cpuset CGROUP  let the cgroup of this name run on every CPU\n"
	"  --ignore-affinity      send pinned tasks where they may not run\n"
	"  --unfair-weights       treat all cgroups alike, whatever their cpu.weight\n"
	"  --ignore-cpu-max       let cgroups run beyond their cpu.max\n"
	"  --ignore-online        leave CPUs alone that come online after the attach\n"
	"  --use-offline          go on queueing tasks for a CPU that went offline\n"
	"  --lose-wakeups N       tell no CPU of every N-th wakeup: it is found up to 500 ms later\n"
	"  --lose-races US        tell no CPU of a task that a timer wakes so soon after another:\n"
	"                         it is found 500 ms later (1 to 10000)\n"
	"  --slow-dispatch US     take so long for each dispatch (1 to 100000)\n"
	"  --flood-local          put everything in the local queue of CPU 0\n"
	"  --leak-dsq             create a queue for each task, and destroy none\n"
	"  --print                print a line with bpf_printk at each dispatch\n"
	"  --verify-loop N        have the verifier walk a loop N times (1 to 1000000)\n"
	"  --fail-verify          write where the verifier lets nobody write\n"
	"  --fail-map             ask for a map that no kernel gives\n"
	"  --fail-kfunc           call a kernel function that no kernel has\n"
	"  --quiet                say nothing of why it was not loaded\n"
	"\n"
	"Exit status: 0 detached by SIGINT or SIGTERM, 1 not loaded, 2 usage,\n"
	"3 evicted by the kernel.\n";

static inline bool parse_number(const char *option, const char *text, long min, long max, long *ret)
{
	char *end;

	errno = 0;
	*ret = strtol(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && !*end && !errno && *ret >= min && *ret <= max)
		return true;
	fprintf(stderr, "scx_ktstr: %s: found '%s', expected a whole number from %ld to %ld\n",
		option, text, min, max);
	return false;
}

static inline bool parse_cgroup(const char *option, const char *text, const char **ret)
{
	*ret = text;
	if (text[0] && strlen(text) < KTSTR_CGROUP_LEN && !strchr(text, '/'))
		return true;
	fprintf(stderr, "scx_ktstr: %s: found '%s', expected a cgroup's own name, at most %d bytes\n",
		option, text, KTSTR_CGROUP_LEN - 1);
	return false;
}

/* Returns -1 to go on, else the exit status. */
static inline int parse_options(int argc, char **argv, struct options *ret)
{
	const struct {
		const char *name;
		long min, max;		/* both 0: a flag */
		long *number;
		const char **cgroup;
	} known[] = {
		{ "--timeout-ms", 1, TIMEOUT_MS_MAX, &ret->timeout_ms, NULL },
		{ "--slice-us", 1000, 40000, &ret->slice_us, NULL },
		{ "--stall-after", 0, LATEST_S, &ret->stall_after_s, NULL },
		{ "--error-after", 0, LATEST_S, &ret->error_after_s, NULL },
		{ "--degrade-after", 0, LATEST_S, &ret->degrade_after_s, NULL },
		{ "--starve", 0, 0, NULL, &ret->starve },
		{ "--ignore-cpuset", 0, 0, NULL, &ret->ignore_cpuset },
		{ "--ignore-affinity", 0, 0, &ret->ignore_affinity, NULL },
		{ "--unfair-weights", 0, 0, &ret->unfair_weights, NULL },
		{ "--ignore-cpu-max", 0, 0, &ret->ignore_cpu_max, NULL },
		{ "--ignore-online", 0, 0, &ret->ignore_online, NULL },
		{ "--use-offline", 0, 0, &ret->use_offline, NULL },
		{ "--lose-wakeups", 1, LATEST_S, &ret->lose_wakeups, NULL },
		{ "--lose-races", 1, 10000, &ret->lose_races_us, NULL },
		{ "--slow-dispatch", 1, 100000, &ret->slow_dispatch_us, NULL },
		{ "--flood-local", 0, 0, &ret->flood_local, NULL },
		{ "--leak-dsq", 0, 0, &ret->leak_dsq, NULL },
		{ "--print", 0, 0, &ret->print, NULL },
		{ "--verify-loop", 1, 1000000, &ret->verify_loop, NULL },
		{ "--fail-verify", 0, 0, &ret->fail_verify, NULL },
		{ "--fail-map", 0, 0, &ret->fail_map, NULL },
		{ "--fail-kfunc", 0, 0, &ret->fail_kfunc, NULL },
		{ "--quiet", 0, 0, &ret->quiet, NULL },
		{ "--help", 0, 0, NULL, NULL },
	};
	enum { KNOWN = sizeof(known) / sizeof(known[0]) };
	struct option longopts[KNOWN + 1] = { 0 };
	int opt, which = 0;

	for (int i = 0; i < KNOWN; i++)
		longopts[i] = (struct option){ known[i].name + 2, known[i].max || known[i].cgroup, NULL, 0 };
	while ((opt = getopt_long(argc, argv, "", longopts, &which)) == 0) {
		if (known[which].cgroup) {
			if (!parse_cgroup(known[which].name, optarg, known[which].cgroup))
				return EXIT_USAGE;
		} else if (known[which].max) {
			if (!parse_number(known[which].name, optarg, known[which].min, known[which].max,
					  known[which].number))
				return EXIT_USAGE;
		} else if (known[which].number) {
			*known[which].number = 1;
		} else {
			fputs(USAGE, stdout);
			return EXIT_SUCCESS;
		}
	}
	if (opt != -1) {
		fputs(USAGE, stderr);
		return EXIT_USAGE;
	}
	if (optind < argc) {
		fprintf(stderr, "scx_ktstr: unexpected argument '%s'\n%s", argv[optind], USAGE);
		return EXIT_USAGE;
	}
	return -1;
}

#endif
