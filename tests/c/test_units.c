// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit tests of the agent's pure parts. Each TEST is run by its name, given as the argument; the
 * program ends 1 at the first check that does not hold, saying which.
 */
#include <errno.h>
#include <unistd.h>

#include "agent_test.h"
#include "base/cpulist.h"
#include "base/events.h"
#include "base/random.h"
#include "base/run.h"
#include "wire/crc32.h"
#include "wire/delivery.h"
#include "wire/frame.h"
#include "wire/program.h"
#include "work/chains.h"
#include "work/memory.h"
#include "work/work.h"
#include "watch/keeplog.h"
#include "watch/kmsg.h"
#include "measure/measure.h"
#include "measure/pages.h"
#include "watch/topology.h"
#include "measure/reservoir.h"
#include "measure/schedstat.h"
#include "proc/refusal.h"

TEST(crc32_of_the_check_string_is_the_published_one)
{
	CHECK(crc32_update(0, "123456789", 9) == 0xCBF43926u);
	CHECK(crc32_update(0, "", 0) == 0);
	CHECK(crc32_update(0, "a", 1) == 0xE8B7BE43u);
	CHECK(crc32_update(0, "The quick brown fox jumps over the lazy dog", 43) == 0x414FA339u);
}

TEST(crc32_in_pieces_of_any_size_is_the_same)
{
	uint8_t data[100];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (size_t cut = 0; cut <= sizeof(data); cut++) {
		uint32_t crc = crc32_update(crc32_update(0, data, cut), data + cut, sizeof(data) - cut);

		CHECK(crc == crc32_update(0, data, sizeof(data)));
	}
}

TEST(frame_has_header_payload_and_checksum_over_both)
{
	uint8_t out[64];
	struct ktstr_frame_header header;
	size_t n = frame_build(out, sizeof(out), 5, 7, "abc", 3, "de", 2);

	CHECK(n == 25);
	memcpy(&header, out, sizeof(header));
	CHECK(header.magic == 0x4652544b && header.type == 5 && header.seq == 7 && header.bytes == 5);
	CHECK(memcmp(out + 20, "abcde", 5) == 0);
	CHECK(header.crc == crc32_update(crc32_update(0, out, 16), "abcde", 5));
}

TEST(frame_that_does_not_fit_is_refused)
{
	static uint8_t out[FRAME_MAX_BYTES], body[KTSTR_MAX_PAYLOAD + 1];

	CHECK(frame_build(out, 24, 1, 0, "abcde", 5, NULL, 0) == 0);
	CHECK(frame_build(out, sizeof(out), 1, 0, body, KTSTR_MAX_PAYLOAD, body, 1) == 0);
	CHECK(frame_build(out, sizeof(out), 1, 0, body, KTSTR_MAX_PAYLOAD, NULL, 0) == FRAME_MAX_BYTES);
}

TEST(cpulist_reads_what_the_kernel_writes)
{
	struct ktstr_cpumask mask;

	CHECK(cpulist_parse("0-3,8,510-511\n", &mask) == 0);
	CHECK(mask.bits[0] == 0x10f && mask.bits[7] == UINT64_C(3) << 62);
	CHECK(cpumask_count(&mask) == 7);
	CHECK(cpulist_parse("\n", &mask) == 0 && cpumask_empty(&mask));
	CHECK(cpulist_parse("", &mask) == 0 && cpumask_empty(&mask));
}

TEST(cpulist_refuses_anything_else_and_leaves_the_mask)
{
	static const char *const wrong[] = { "512", "0-512", "3-1", "a",    "1,",  ",1", "1-",
					     "-1",  "1 2",   "1\n2", "0x1", "1--2", "99999999999999999999" };
	struct ktstr_cpumask mask = { .bits = { 5 } };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(cpulist_parse(wrong[i], &mask) == -EINVAL);
	CHECK(mask.bits[0] == 5);
}

TEST(cpulist_written_is_read_back)
{
	struct ktstr_cpumask mask = { 0 }, again;
	char text[CPULIST_BYTES];

	for (uint32_t cpu = 0; cpu < KTSTR_MAX_CPUS; cpu += 2)
		cpumask_set(&mask, cpu);
	cpumask_set(&mask, KTSTR_MAX_CPUS); /* ignored */
	CHECK(cpulist_format(&mask, text, sizeof(text)) > 0);
	CHECK(cpulist_parse(text, &again) == 0 && cpumask_equal(&mask, &again));
	CHECK(cpulist_format(&mask, text, 16) == 0 && text[0] == '\0');
	CHECK(cpulist_parse("1-3,7", &mask) == 0);
	CHECK(cpulist_format(&mask, text, sizeof(text)) == 5 && strcmp(text, "1-3,7") == 0);
}

TEST(reservoir_keeps_all_until_it_is_full)
{
	uint64_t samples[4];
	struct reservoir r;

	reservoir_init(&r, samples, 4, 1);
	for (uint64_t i = 0; i < 4; i++)
		reservoir_add(&r, 10 + i);
	CHECK(r.stored == 4 && r.seen == 4);
	CHECK(samples[0] == 10 && samples[1] == 11 && samples[2] == 12 && samples[3] == 13);
	reservoir_add(&r, 99);
	CHECK(r.stored == 4 && r.seen == 5);
}

TEST(reservoir_without_room_only_counts)
{
	struct reservoir r;

	reservoir_init(&r, NULL, 0, 1);
	reservoir_add(&r, 1);
	CHECK(r.stored == 0 && r.seen == 1);
}

/*
 * 2,000 streams of 400 into 20 slots: each quarter of the stream should end up with a quarter of
 * the 40,000 kept samples. The standard deviation of that count is 87, so 500 is nearly 6 of them.
 */
TEST(reservoir_is_uniform_over_the_stream)
{
	uint64_t samples[20];
	uint32_t quarter[4] = { 0 };

	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct reservoir r;

		reservoir_init(&r, samples, 20, seed);
		for (uint64_t i = 0; i < 400; i++)
			reservoir_add(&r, i);
		for (uint32_t i = 0; i < 20; i++)
			quarter[samples[i] / 100]++;
	}
	for (int i = 0; i < 4; i++)
		CHECK(quarter[i] > 9500 && quarter[i] < 10500);
}

TEST(reservoir_repeats_with_the_same_seed_only)
{
	uint64_t a[8], b[8], c[8];
	struct reservoir r[3];

	reservoir_init(&r[0], a, 8, 3);
	reservoir_init(&r[1], b, 8, 3);
	reservoir_init(&r[2], c, 8, 4);
	for (uint64_t i = 0; i < 1000; i++)
		for (int j = 0; j < 3; j++)
			reservoir_add(&r[j], i);
	CHECK(memcmp(a, b, sizeof(a)) == 0);
	CHECK(memcmp(a, c, sizeof(a)) != 0);
}

static char *sunk;
static size_t sunk_bytes;

static void sink(const char *text, size_t bytes, void *context)
{
	(void)context;
	sunk = realloc(sunk, sunk_bytes + bytes + 1);
	memcpy(sunk + sunk_bytes, text, bytes);
	sunk_bytes += bytes;
	sunk[sunk_bytes] = '\0';
}

TEST(keeplog_gives_a_short_log_whole_and_its_head_as_it_grows)
{
	struct keeplog *log = calloc(1, sizeof(*log));

	keeplog_add(log, "one\n", 4);
	keeplog_take_head(log, sink, NULL);
	CHECK(sunk_bytes == 4);
	keeplog_add(log, "two\n", 4);
	keeplog_take_all(log, sink, NULL);
	CHECK(strcmp(sunk, "one\ntwo\n") == 0);
	free(log);
	free(sunk);
}

TEST(keeplog_keeps_both_ends_of_a_long_log_and_says_what_it_dropped)
{
	struct keeplog *log = calloc(1, sizeof(*log));
	uint32_t lines = 100000;
	char line[16];

	for (uint32_t i = 0; i < lines; i++) {
		snprintf(line, sizeof(line), "%06u\n", i);
		keeplog_add(log, line, 7);
	}
	keeplog_take_all(log, sink, NULL);
	CHECK(sunk_bytes <= KTSTR_MAX_LOG_BYTES);
	CHECK(strncmp(sunk, "000000\n000001\n", 14) == 0);
	CHECK(strcmp(sunk + sunk_bytes - 14, "099998\n099999\n") == 0);
	/* 700,000 bytes came, two ends of 131,008 are kept. */
	CHECK(strstr(sunk, "\n[... 437984 bytes dropped ...]\n"));
	free(log);
	free(sunk);
}

TEST(keeplog_of_what_came_first_keeps_that_alone_and_says_what_it_dropped)
{
	struct keeplog *log = calloc(1, sizeof(*log));
	char line[16];

	log->first_only = true;
	for (uint32_t i = 0; i < 100000; i++) {
		snprintf(line, sizeof(line), "%06u\n", i);
		keeplog_add(log, line, 7);
	}
	keeplog_take_all(log, sink, NULL);
	CHECK(sunk_bytes <= KTSTR_MAX_LOG_BYTES);
	/* 262,016 bytes are 37,430 lines and 6 bytes of one. */
	CHECK(strncmp(sunk + 37429 * 7, "037429\n037430\n[... 437984 bytes dropped ...]\n", 64) == 0);
	keeplog_empty(log);
	sunk_bytes = 0;
	keeplog_add(log, "anew", 4);
	keeplog_take_all(log, sink, NULL);
	CHECK(strcmp(sunk, "anew") == 0);
	free(log);
	free(sunk);
}

TEST(schedstat_reads_a_task_and_a_cpu_line)
{
	struct schedstat stat;
	uint32_t cpu;

	CHECK(schedstat_parse_task("745200000 318200000 73", &stat));
	CHECK(stat.run_ns == 745200000 && stat.run_delay_ns == 318200000 && stat.timeslices == 73);
	CHECK(schedstat_parse_cpu("cpu13 0 0 0 0 0 0 11 12 13", &cpu, &stat));
	CHECK(cpu == 13 && stat.run_ns == 11 && stat.run_delay_ns == 12 && stat.timeslices == 13);
	CHECK(!schedstat_parse_task("1 2", &stat));
	CHECK(!schedstat_parse_cpu("cpu 0 0 0 0 0 0 1 2 3", &cpu, &stat));
	CHECK(!schedstat_parse_cpu("cpu512 0 0 0 0 0 0 1 2 3", &cpu, &stat));
	CHECK(!schedstat_parse_cpu("cpu1 0 0 0 0 0 0 1 2", &cpu, &stat));
	CHECK(!schedstat_parse_cpu("domain0 MC 0f 0 0 0 0 0 0 1 2 3", &cpu, &stat));
}

TEST(memory_that_is_present_is_added_up_by_node)
{
	uint64_t kib[KTSTR_MAX_NODES] = { 0 };

	topology_add_memory("Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 0\n  pages free     100\n"
			    "        spanned  4095\n        present  3998\n        managed  3840\n"
			    "Node 0, zone   Normal\n  pages free     1\n        present  2\n"
			    "Node 63, zone   Movable\n        present  5\nNode 64, zone x\n        present  7", kib);
	CHECK(kib[0] == 4000 * 4 && kib[1] == 0 && kib[63] == 20);
	topology_add_memory("        present  3\nNode", kib);
	CHECK(kib[0] == 4000 * 4);
}

TEST(pages_of_shared_memory_are_added_up_by_node)
{
	uint64_t pages[KTSTR_MAX_NODES] = { 5 };

	pages_add("00400000 default file=/init dirty=1 N0=7 kernelpagesize_kB=4\n"
		  "7f00 bind:1 file=/dev/zero\\040(deleted) dirty=20 mapmax=3 N0=2 N1=18 N63=1 kernelpagesize_kB=4\n"
		  "7f01 default anon=2 dirty=2 N1=2 kernelpagesize_kB=4\n"
		  "7f02 default file=/dev/zero\\040(deleted) N64=9 N1=4 Nx=3 N=2", pages);
	CHECK(pages[0] == 7 && pages[1] == 22 && pages[63] == 1);
	pages_add("", pages);
	pages_add("7f00 default file=/dev/zero\n", pages);
	CHECK(pages[0] == 7 && pages[1] == 22 && pages[2] == 0);
}

/* Else what comes between the two would be owed by the next gap, and nobody could say whose it was. */
TEST(a_gap_ends_when_its_cpu_clock_was_read)
{
	static struct slot slot;
	struct timespec pause = { .tv_nsec = 3000000 };
	struct measure m;
	uint64_t now;

	measure_prepare(&m, &slot);
	measure_begin(&m, now_ns());
	nanosleep(&pause, NULL);
	now = measure_look(&slot);
	CHECK(now == slot.looked_ns && slot.looked_ns == slot.read_wall_ns);
	CHECK(slot.report.max_gap_ns >= 3000000 && slot.report.max_gap_off_cpu_ns >= 2000000);
	nanosleep(&pause, NULL);
	measure_end(&m);
	CHECK(slot.looked_ns == slot.read_wall_ns && slot.report.wall_time_ns == slot.read_wall_ns - slot.start_ns);
}

TEST(time_that_the_program_froze_a_worker_for_is_no_gap)
{
	static struct slot slot;
	struct timespec pause = { .tv_nsec = 5000000 };
	struct measure m;

	measure_prepare(&m, &slot);
	measure_begin(&m, now_ns());
	nanosleep(&pause, NULL);
	slot.frozen_ns = 4900000;
	measure_look(&slot);
	CHECK(slot.frozen_ns == 0 && slot.report.max_gap_ns >= 90000);
	slot.report.max_gap_ns = slot.report.max_gap_off_cpu_ns = 0;
	nanosleep(&pause, NULL);
	slot.frozen_ns = UINT64_MAX; /* never more than there was */
	measure_look(&slot);
	CHECK(slot.report.max_gap_ns == 0 && slot.report.max_gap_off_cpu_ns == 0);
	slot.frozen_ns = 1;
	measure_unblock(&m);
	measure_wake(&m, 7);
	CHECK(slot.frozen_ns == 0 && slot.wakes.seen == 0);
	measure_unblock(&m);
	measure_wake(&m, 7);
	CHECK(slot.wakes.seen == 1);
}

TEST(kmsg_record_gives_text_and_time)
{
	const char *record = "3,627,11057145,-;sched_ext: ktstr: stalled\n SUBSYSTEM=x\n";
	const char *text;
	uint64_t usec;
	size_t bytes;

	CHECK(kmsg_parse(record, strlen(record), &text, &bytes, &usec));
	CHECK(usec == 11057145 && bytes == 25 && memcmp(text, "sched_ext: ktstr: stalled", bytes) == 0);
	CHECK(!kmsg_parse("3,627,", 6, &text, &bytes, &usec));
	CHECK(!kmsg_parse("3,627,5,-", 9, &text, &bytes, &usec));
	CHECK(!kmsg_parse("", 0, &text, &bytes, &usec));
	CHECK(kmsg_parse("3,627,5,-;", 10, &text, &bytes, &usec) && bytes == 0);
}

TEST(the_word_that_makes_the_agent_wait_stands_alone)
{
	static const char *const yes[] = { "ktstr.wait", "quiet ktstr.wait", "ktstr.wait quiet",
					   "xktstr.wait ktstr.waits ktstr.wait" };
	static const char *const no[] = { "",		      "ktstr.wai",	"ktstr.wait=1", "ktstr.waits",
					  "xktstr.wait", "x=ktstr.wait", "ktstr.waitktstr.wait" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		CHECK(delivery_has_word(yes[i], "ktstr.wait"));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		CHECK(!delivery_has_word(no[i], "ktstr.wait"));
}

/* A delivery of the small program, to be damaged. */
struct small_delivery {
	struct ktstr_delivery head;
	struct small program;
};

static struct small_delivery delivery_of_small(void)
{
	struct small_delivery d = {
		.head = { .magic = 0x4452544b, .version = 4, .header_bytes = 88, .total_bytes = sizeof(struct small_delivery),
			  .realtime_ns = 5, .randomness = { 1, 2, 3 } },
		.program = small_program(),
	};

	d.head.crc = crc32_update(crc32_update(0, &d, 12), (const uint8_t *)&d + 16, sizeof(d) - 16);
	return d;
}

TEST(delivery_says_its_length_and_is_whole)
{
	struct small_delivery d = delivery_of_small();
	struct program program;
	char why[128] = "";

	CHECK(delivery_bytes(&d.head, why, sizeof(why)) == sizeof(struct small_delivery));
	CHECK(delivery_is_whole(&d.head, why, sizeof(why)) && why[0] == '\0');
	CHECK(program_open(&d.head + 1, sizeof(d.program), &program, why, sizeof(why)));
	CHECK(program.header->seed == 9);
}

/* Its head is refused, saying why. */
static bool refused(const struct small_delivery *d, const char *because)
{
	char why[128] = "";

	return delivery_bytes(&d->head, why, sizeof(why)) == 0 && strstr(why, because);
}

TEST(delivery_that_is_none_or_too_long_is_refused_by_its_head_alone)
{
	struct small_delivery d = delivery_of_small();
	char why[128];

	d.head.magic = 0x5052544b; /* a bare program */
	CHECK(refused(&d, "magic is 0x5052544b, expected 0x4452544b"));
	d = delivery_of_small();
	d.head.version = 1;
	CHECK(refused(&d, "version 1 with a header of 88 bytes, expected 4 with 88"));
	d = delivery_of_small();
	d.head.header_bytes = 96;
	CHECK(refused(&d, "version 4 with a header of 96 bytes, expected 4 with 88"));
	d = delivery_of_small();
	d.head.total_bytes = 87;
	CHECK(refused(&d, "87 bytes, expected 88 to 4194392"));
	d.head.total_bytes = 4194393;
	CHECK(refused(&d, "4194393 bytes"));
	d.head.total_bytes = UINT32_MAX;
	CHECK(refused(&d, "4294967295 bytes"));
	d.head.total_bytes = 88;
	CHECK(delivery_bytes(&d.head, why, sizeof(why)) == 88);
	d.head.total_bytes = 4194392;
	CHECK(delivery_bytes(&d.head, why, sizeof(why)) == 4194392);
}

TEST(delivery_with_any_bit_flipped_is_not_whole)
{
	struct small_delivery d = delivery_of_small();
	uint8_t *bytes = (uint8_t *)&d;
	char why[128];

	for (size_t bit = 0; bit < 8 * sizeof(d); bit++) {
		if (bit / 8 >= 8 && bit / 8 < 12)
			continue; /* the length, which delivery_bytes has bounded */
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(!delivery_is_whole(&d.head, why, sizeof(why)));
		CHECK(strstr(why, "checksum is 0x"));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	d.head.total_bytes = 143;
	CHECK(!delivery_is_whole(&d.head, why, sizeof(why)));
}

TEST(names_of_ops_and_work_types_are_the_hosts)
{
	const uint64_t none[KTSTR_MAX_PARAMS] = { 0 }, one[KTSTR_MAX_PARAMS] = { 0, 1 };
	uint32_t wrong;

	CHECK(strcmp(op_name(KTSTR_OP_REMOVE_CGROUPS), "RemoveCgroups") == 0);
	CHECK(strcmp(op_name(0), "unknown") == 0 && strcmp(op_name(1000), "unknown") == 0);
	CHECK(strcmp(work_name(KTSTR_WORK_FUTEX_PING_PONG), "FutexPingPong") == 0);
	CHECK(work_type(KTSTR_WORK_PIPE_IO)->group == 2 && work_type(KTSTR_WORK_MIXED)->group == 1);
	CHECK(work_type(KTSTR_WORK_BURSTY)->flags == WORK_WAKES && work_type(KTSTR_WORK_MIXED)->flags == 0);
	CHECK(!work_type(0) && !work_type(1000));
	CHECK(work_params_fit(KTSTR_WORK_MIXED, none, &wrong) && work_params_fit(KTSTR_WORK_PIPE_IO, none, &wrong));
	CHECK(!work_params_fit(KTSTR_WORK_PIPE_IO, one, &wrong) && wrong == 1);
	CHECK(!work_params_fit(KTSTR_WORK_BURSTY, one, &wrong) && wrong == 0);
}

TEST(a_crew_is_as_large_as_its_numbers_say)
{
	const struct ktstr_work pair = { .type = KTSTR_WORK_PIPE_IO, .params = { 7 } };
	const struct ktstr_work fan_out = { .type = KTSTR_WORK_FUTEX_FAN_OUT, .params = { 3, 1000 } };
	const struct ktstr_work storm = { .type = KTSTR_WORK_EPOLL_STORM, .params = { 2, 5, 8 } };
	struct ktstr_work chain = { .type = KTSTR_WORK_WAKE_CHAIN, .params = { 6, 0, 1 } };
	uint32_t wrong;

	CHECK(work_group(&pair) == 2 && work_shared_bytes(&pair) == 32);
	CHECK(work_group(&fan_out) == 4 && work_shared_bytes(&fan_out) == 128);
	CHECK(work_group(&storm) == 7 && work_shared_bytes(&storm) == 7 * 576);
	CHECK(work_group(&chain) == 6 && work_shared_bytes(&chain) == 6 * 64);
	CHECK(work_params_fit(chain.type, chain.params, &wrong));
	chain.params[2] = 2;
	CHECK(!work_params_fit(chain.type, chain.params, &wrong) && wrong == 2);
}

TEST(a_footprint_is_the_lines_that_were_written_to)
{
	static const struct {
		uint64_t kib, stride, steps, bytes;
	} cases[] = {
		{ 1, 64, 0, 0 }, { 1, 64, 1, 64 }, { 1, 64, 16, 1024 }, { 1, 64, 5000, 1024 }, { 1, 128, 5000, 512 },
		{ 1, 1, 65, 128 }, { 1, 1000, 3, 128 }, { 1, 1024, 9, 64 }, { 4, 1088, 5000, 4096 },
	};
	static struct slot slot;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct self self = { .slot = &slot };

		slot.units = 0;
		CHECK(walk_prepare(&self, cases[i].kib, cases[i].stride));
		walk(&self, cases[i].steps);
		CHECK(walk_footprint(&self) == cases[i].bytes && slot.units == cases[i].steps);
	}
}

TEST(multiplications_are_counted_by_what_they_came_to)
{
	static struct slot slot;
	struct self self = { .slot = &slot };
	struct chains chains;

	for (uint32_t width = 1; width <= MAX_CHAINS; width++) {
		chains_init(&chains);
		chains_run(&self, &chains, width, 1);
		CHECK(chains.at[width - 1] == (2 * width - 1) * CHAIN_FACTOR);
		chains_run(&self, &chains, width, 5000);
		CHECK(chains_multiplied(&chains, width) == 5001 * width);
		chains.at[0] += 2;
		CHECK(chains_multiplied(&chains, width) == 5001 * (width - 1));
	}
}

TEST(numbers_below_a_bound_are_spread_over_all_of_them)
{
	uint64_t state = 0, counts[10] = { 0 };

	for (int i = 0; i < 10000; i++)
		counts[random_below(&state, 10)]++;
	for (int i = 0; i < 10; i++)
		CHECK(counts[i] > 850 && counts[i] < 1150); /* 5 standard deviations */
	CHECK(random_below(&state, 1) == 0);
}

static int handled;

static void handle(int fd, void *context)
{
	char byte;

	handled += read(fd, &byte, 1) == 1 ? *(int *)context : 0;
}

/* However many there are. */
TEST(events_watches_all_it_was_given)
{
	int pipes[40][2], each[40];

	CHECK(events_init());
	for (int i = 0; i < 40; i++) {
		each[i] = i;
		CHECK(pipe(pipes[i]) == 0 && events_add(pipes[i][0], handle, &each[i]));
		CHECK(write(pipes[i][1], "x", 1) == 1);
	}
	events_poll();
	CHECK(handled == 40 * 39 / 2);
	CHECK(!events_add(-1, handle, NULL));
}

TEST(events_leaves_a_paused_source_alone_and_comes_back_to_it)
{
	int ends[2], one = 1;
	uint64_t until = now_ns() + 20000000;

	CHECK(events_init() && pipe(ends) == 0 && events_add(ends[0], handle, &one));
	CHECK(write(ends[1], "xx", 2) == 2);
	events_pause(ends[0], until);
	events_poll();
	CHECK(handled == 0);
	while (!handled)
		events_wait(UINT64_MAX);
	CHECK(now_ns() >= until);
	events_remove(ends[0]);
	events_poll();
	CHECK(handled == 1);
}

static void load(struct refusal *refusal, const char *name, long result)
{
	union bpf_attr attr = { 0 };

	memcpy(attr.prog_name, name, strlen(name));
	refusal_take(refusal, BPF_PROG_LOAD, &attr, result);
}

TEST(a_refused_program_is_named_until_another_is_made)
{
	static struct refusal refusal = { .command = KTSTR_REFUSED_NOTHING };

	load(&refusal, "probe", -EINVAL);
	load(&refusal, "init", 5);
	CHECK(refusal.command == KTSTR_REFUSED_NOTHING && refusal.calls == 2);
	load(&refusal, "dispatch_of_sixteen", -EACCES); /* a name without its end */
	refusal_take(&refusal, BPF_MAP_LOOKUP_ELEM, &(union bpf_attr){ 0 }, -ENOENT);
	CHECK(refusal.command == BPF_PROG_LOAD && refusal.error == EACCES && refusal.calls == 4);
	CHECK(strcmp(refusal.name, "dispatch_of_six") == 0);
}

TEST(a_refused_link_is_named_by_its_map)
{
	static struct refusal refusal = { .command = KTSTR_REFUSED_NOTHING };
	union bpf_attr map = { .map_name = "ktstr_ops" }, link = { .link_create = { .prog_fd = 9 } };

	refusal_take(&refusal, BPF_MAP_CREATE, &map, 9);
	refusal_take(&refusal, BPF_MAP_CREATE, &map, REFUSAL_MAPS); /* beyond what is kept */
	refusal_take(&refusal, BPF_LINK_CREATE, &link, -EBUSY);
	CHECK(refusal.command == BPF_LINK_CREATE && strcmp(refusal.name, "ktstr_ops") == 0);
	link.link_create.prog_fd = ~0u;
	refusal_take(&refusal, BPF_LINK_CREATE, &link, -EBUSY);
	CHECK(refusal.name[0] == '\0');
}

TEST(a_refused_map_is_told_with_what_was_asked_for)
{
	static struct refusal refusal;
	union bpf_attr map = { .map_type = 2, .key_size = 4, .value_size = 8, .max_entries = 9, .map_flags = 16 };
	size_t bytes;

	refusal_take(&refusal, BPF_MAP_CREATE, &map, -E2BIG);
	CHECK(strncmp(refusal_words(&refusal, &bytes), "map of type 2, 4 bytes for a key, 8 for a value, 9 entries, ",
		      60) == 0);
	CHECK(bytes == strlen("map of type 2, 4 bytes for a key, 8 for a value, 9 entries, flags 0x10"));
}

/* As long as comes, in pieces of each length: the last whole lines are kept. */
TEST(of_a_log_of_any_length_the_last_lines_are_kept)
{
	static struct refusal refusal;
	static char text[20000];
	size_t bytes;
	const char *words;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 10 == 9 ? '\n' : (char)('a' + i / 10 % 26);
	for (size_t piece = 1; piece <= sizeof(text); piece = piece * 3 + 1) {
		refusal.log_bytes = 0;
		for (size_t at = 0; at < sizeof(text); at += piece)
			refusal_log(&refusal, text + at, sizeof(text) - at < piece ? sizeof(text) - at : piece);
		words = refusal_words(&refusal, &bytes);
		CHECK(bytes == 4090 && memcmp(words, text + sizeof(text) - bytes, bytes) == 0);
	}
	refusal.log_bytes = 0;
	refusal_log(&refusal, "short", 5);
	CHECK(refusal_words(&refusal, &bytes) == refusal.log && bytes == 5);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	RUN(crc32_of_the_check_string_is_the_published_one)
	RUN(crc32_in_pieces_of_any_size_is_the_same)
	RUN(frame_has_header_payload_and_checksum_over_both)
	RUN(frame_that_does_not_fit_is_refused)
	RUN(cpulist_reads_what_the_kernel_writes)
	RUN(cpulist_refuses_anything_else_and_leaves_the_mask)
	RUN(cpulist_written_is_read_back)
	RUN(reservoir_keeps_all_until_it_is_full)
	RUN(reservoir_without_room_only_counts)
	RUN(reservoir_is_uniform_over_the_stream)
	RUN(reservoir_repeats_with_the_same_seed_only)
	RUN(keeplog_gives_a_short_log_whole_and_its_head_as_it_grows)
	RUN(keeplog_keeps_both_ends_of_a_long_log_and_says_what_it_dropped)
	RUN(keeplog_of_what_came_first_keeps_that_alone_and_says_what_it_dropped)
	RUN(schedstat_reads_a_task_and_a_cpu_line)
	RUN(pages_of_shared_memory_are_added_up_by_node)
	RUN(a_gap_ends_when_its_cpu_clock_was_read)
	RUN(time_that_the_program_froze_a_worker_for_is_no_gap)
	RUN(kmsg_record_gives_text_and_time)
	RUN(the_word_that_makes_the_agent_wait_stands_alone)
	RUN(delivery_says_its_length_and_is_whole)
	RUN(delivery_that_is_none_or_too_long_is_refused_by_its_head_alone)
	RUN(delivery_with_any_bit_flipped_is_not_whole)
	RUN(names_of_ops_and_work_types_are_the_hosts)
	RUN(a_crew_is_as_large_as_its_numbers_say)
	RUN(a_footprint_is_the_lines_that_were_written_to)
	RUN(multiplications_are_counted_by_what_they_came_to)
	RUN(numbers_below_a_bound_are_spread_over_all_of_them)
	RUN(memory_that_is_present_is_added_up_by_node)
	RUN(events_watches_all_it_was_given)
	RUN(events_leaves_a_paused_source_alone_and_comes_back_to_it)
	RUN(a_refused_program_is_named_until_another_is_made)
	RUN(a_refused_link_is_named_by_its_map)
	RUN(a_refused_map_is_told_with_what_was_asked_for)
	RUN(of_a_log_of_any_length_the_last_lines_are_kept)
	fprintf(stderr, "no test named %s\n", argv[1]);
	return 2;
}
