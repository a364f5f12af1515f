// SPDX-License-Identifier: GPL-2.0-only
/*
 * Boots a machine from the command line, for development and benchmarks: the console goes to
 * standard output, the channel to a file, how it ended and what it cost to standard error.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ktstr_vmm.h"

static const char usage[] =
	"usage: vmm_run [-t NnLlCcTt] [-m MiB] [-a COMMAND_LINE] [-c CHANNEL_FILE] [-d DEADLINE_MS]\n"
	"               [-v host|intel|amd] [-f FLAGS] [-s] [-q] [-S PREFIX [-w MS] [-k]] KERNEL [INITRD...]\n"
	"       vmm_run [OPTIONS] -C PREFIX\n"
	"-s prints KVM's statistics of vCPU 0, -q keeps the console off; -S writes a snapshot to PREFIX.mem and\n"
	"PREFIX.state after MS milliseconds, -k stops the machine then; -C goes on from one\n";

struct options {
	struct vmm_config config;
	const char *channel;
	const char *snapshot; /* prefix of what is written */
	int64_t snapshot_ms;
	int stats, quiet, stop;
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *text)
{
	fprintf(stderr, "vmm_run: %s\n", text);
	exit(2);
}

static void parse_topology(struct vmm_config *config, const char *text)
{
	char end;

	if (sscanf(text, "%" SCNu32 "n%" SCNu32 "l%" SCNu32 "c%" SCNu32 "%c", &config->nodes, &config->llcs,
		   &config->cores, &config->threads, &end) != 5 || end != 't')
		fail("expected a topology such as 1n2l4c2t");
}

static uint32_t parse_vendor(const char *text)
{
	static const char *const names[] = { "host", "intel", "amd" };

	for (uint32_t i = 0; i < 3; i++)
		if (strcmp(names[i], text) == 0)
			return i;
	fail("expected vendor host, intel or amd");
	return 0;
}

static int open_part(const char *prefix, const char *suffix, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s.%s", prefix, suffix);
	fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		fail(path);
	return fd;
}

static void parse_snapshot_option(struct options *options, int option)
{
	switch (option) {
	case 'S':
		options->snapshot = optarg;
		break;
	case 'w':
		options->snapshot_ms = strtoll(optarg, NULL, 0);
		break;
	case 'k':
		options->stop = 1;
		break;
	case 'C':
		options->config.snapshot_memory_fd = open_part(optarg, "mem", O_RDONLY);
		options->config.snapshot_state_fd = open_part(optarg, "state", O_RDONLY);
		break;
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

static void parse_option(struct options *options, int option)
{
	struct vmm_config *config = &options->config;

	switch (option) {
	case 't':
		parse_topology(config, optarg);
		break;
	case 'm':
		config->memory_bytes = strtoull(optarg, NULL, 0) << 20;
		break;
	case 'a':
		config->command_line = optarg;
		break;
	case 'c':
		options->channel = optarg;
		break;
	case 'd':
		config->deadline_ms = strtoull(optarg, NULL, 0);
		break;
	case 'v':
		config->vendor = parse_vendor(optarg);
		break;
	case 'f':
		config->flags = (uint32_t)strtoul(optarg, NULL, 0);
		break;
	case 's':
		options->stats = 1;
		break;
	case 'q':
		options->quiet = 1;
		break;
	default:
		parse_snapshot_option(options, option);
	}
}

static struct options parse(int argc, char **argv)
{
	struct options options = {
		.snapshot_ms = 1000,
		.config = { .command_line = "console=ttyS0 panic=-1 reboot=k quiet", .nodes = 1, .llcs = 1, .cores = 1,
			    .threads = 1, .memory_bytes = 512ULL << 20, .channel_fd = -1, .console_fd = STDOUT_FILENO,
			    .console_limit = 64 << 20, .channel_limit = 1ULL << 30,
			    .snapshot_memory_fd = -1, .snapshot_state_fd = -1 },
	};
	int option;

	while ((option = getopt(argc, argv, "t:m:a:c:d:v:f:S:w:C:ksqh")) != -1)
		parse_option(&options, option);
	if (optind == argc && options.config.snapshot_memory_fd < 0)
		parse_option(&options, 'h');
	if (options.quiet)
		options.config.console_fd = -1;
	if (options.channel)
		options.config.channel_fd = open(options.channel, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	options.config.kernel = argv[optind];
	options.config.initrd = (const char *const *)argv + optind + 1;
	options.config.initrd_parts = (uint32_t)(argc - optind - 1);
	return options;
}

static void print_stats(struct vmm *vmm)
{
	struct vmm_stat stats[256];
	struct vmm_error err;
	int n = vmm_stats(vmm, 0, stats, 256, &err);

	if (n < 0)
		fprintf(stderr, "%s\n", err.text);
	for (int i = 0; i < n && i < 256; i++)
		if (stats[i].value)
			fprintf(stderr, "  %s %" PRIu64 "\n", stats[i].name, stats[i].value);
}

static void print_result(struct vmm *vmm, const struct vmm_exit *end, const double times[4])
{
	struct vmm_output console, channel;
	char warnings[1024];

	vmm_console_output(vmm, &console);
	vmm_channel_output(vmm, &channel);
	vmm_warnings(vmm, warnings, sizeof(warnings));
	fprintf(stderr, "%s(reason %" PRIu32 ", code %" PRId32 ") %s\n", warnings, end->reason, end->code, end->text);
	fprintf(stderr, "create %.1f ms, start %.1f ms, run %.1f ms; console %" PRIu64 " bytes, channel %" PRIu64 "\n",
		(times[1] - times[0]) * 1e3, (times[2] - times[1]) * 1e3, (times[3] - times[2]) * 1e3, console.written,
		channel.written);
}

/* After a while, unless it ended by then. */
static void take_snapshot(struct vmm *vmm, const struct options *options)
{
	struct vmm_exit end;
	struct vmm_error err;
	double began;

	if (!options->snapshot || vmm_wait(vmm, options->snapshot_ms, &end))
		return;
	began = seconds();
	if (vmm_snapshot(vmm, open_part(options->snapshot, "mem", O_RDWR | O_CREAT | O_TRUNC),
			 open_part(options->snapshot, "state", O_RDWR | O_CREAT | O_TRUNC), &err))
		fail(err.text);
	fprintf(stderr, "snapshot %.1f ms\n", (seconds() - began) * 1e3);
	if (options->stop)
		vmm_stop(vmm);
}

int main(int argc, char **argv)
{
	struct options options = parse(argc, argv);
	struct vmm_exit end;
	struct vmm_error err;
	double times[4] = { seconds() };
	struct vmm *vmm = vmm_create(&options.config, &err);

	if (!vmm)
		fail(err.text);
	times[1] = seconds();
	if (vmm_start(vmm, &err))
		fail(err.text);
	times[2] = seconds();
	take_snapshot(vmm, &options);
	vmm_wait(vmm, -1, &end);
	times[3] = seconds();
	print_result(vmm, &end, times);
	if (options.stats)
		print_stats(vmm);
	vmm_destroy(vmm);
	return end.reason == VMM_POWER_OFF || end.reason == VMM_RESET ? 0 : 1;
}
