// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loader of scx_ktstr. The scheduler is attached by a bpf_link that this process
 * holds: however it ends, the kernel goes back to its own scheduler.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "scx_ktstr.h"
#include "scx_ktstr.skel.h"

enum {
	EXIT_LOAD = 1,		/* not loaded or not attached */
	EXIT_USAGE = 2,
	EXIT_EVICTED = 3,	/* the kernel let go of it, unasked */
};

enum {
	TIMEOUT_MS_DEFAULT = 2000,
	TIMEOUT_MS_MAX = 30000,		/* SCX_WATCHDOG_MAX_TIMEOUT */
	SLICE_US_MIN = 1000,
	SLICE_US_MAX = 40000,
	STALL_S_MAX = 1000000000,
	POLL_NS = 100 * 1000 * 1000,
};

static const long long NSEC_PER_SEC = 1000000000LL;
static const unsigned long long NSEC_PER_USEC = 1000ULL;
static const char SCHED_EXT_SYSFS[] = "/sys/kernel/sched_ext";

struct options {
	long long stall_after_ns;	/* negative: never */
	unsigned int timeout_ms;
	unsigned int slice_us;		/* 0: the BPF half's own */
};

static const char USAGE[] =
	"usage: scx_ktstr [--stall-after SECONDS] [--timeout-ms N] [--slice-us N]\n"
	"\n"
	"  --stall-after SECONDS  dispatch nothing from then on; 0: from the start\n"
	"  --timeout-ms N         a task that waits longer gets the scheduler evicted\n"
	"                         (1 to 30000, default 2000)\n"
	"  --slice-us N           how long a task of nice 0 runs in its turn\n"
	"                         (1000 to 40000, default 10000, as the BPF half has it)\n"
	"  --help                 print this\n"
	"\n"
	"Exit status: 0 detached by SIGINT or SIGTERM, 1 not loaded, 2 usage,\n"
	"3 evicted by the kernel.\n";

static bool parse_number(const char *option, const char *text, long min, long max, long *ret)
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

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	static const struct option longopts[] = {
		{ "stall-after", required_argument, NULL, 's' },
		{ "timeout-ms", required_argument, NULL, 't' },
		{ "slice-us", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	long number;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		switch (opt) {
		case 's':
			if (!parse_number("--stall-after", optarg, 0, STALL_S_MAX, &number))
				return EXIT_USAGE;
			ret->stall_after_ns = number * NSEC_PER_SEC;
			break;
		case 't':
			if (!parse_number("--timeout-ms", optarg, 1, TIMEOUT_MS_MAX, &number))
				return EXIT_USAGE;
			ret->timeout_ms = number;
			break;
		case 'l':
			if (!parse_number("--slice-us", optarg, SLICE_US_MIN, SLICE_US_MAX, &number))
				return EXIT_USAGE;
			ret->slice_us = number;
			break;
		case 'h':
			fputs(USAGE, stdout);
			return EXIT_SUCCESS;
		default:
			fputs(USAGE, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "scx_ktstr: unexpected argument '%s'\n%s", argv[optind], USAGE);
		return EXIT_USAGE;
	}
	return -1;
}

static int print_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static struct scx_ktstr *load(const struct options *options)
{
	struct scx_ktstr *skel = scx_ktstr__open();

	if (!skel)
		return NULL;
	skel->rodata->stall_after_ns = options->stall_after_ns;
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
static void wait_for_end(const struct scx_ktstr *skel, const sigset_t *signals)
{
	const struct timespec poll = { .tv_nsec = POLL_NS };

	while (!exit_kind(skel) && sigtimedwait(signals, NULL, &poll) < 0)
		;
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

static int attach_and_run(struct scx_ktstr *skel, const sigset_t *signals)
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
	wait_for_end(skel, signals);
	evicted = exit_kind(skel);
	bpf_link__destroy(link);
	return report_end(skel, evicted);
}

int main(int argc, char **argv)
{
	struct options options = {
		.stall_after_ns = -1, .timeout_ms = TIMEOUT_MS_DEFAULT,
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
	libbpf_set_print(print_warnings);

	skel = load(&options);
	if (!skel) {
		fprintf(stderr, "scx_ktstr: cannot load: %s\n", strerror(errno));
		return EXIT_LOAD;
	}
	status = attach_and_run(skel, &signals);
	scx_ktstr__destroy(skel);
	return status;
}
