// SPDX-License-Identifier: GPL-2.0-only
/* Machines whose guest talks back, misbehaves, or is looked at and spoken to by many threads at once. */
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>

#include "vmm_machine.h"

static void check_end(struct vmm *vmm, enum vmm_reason reason)
{
	struct vmm_exit end;

	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1);
	if (end.reason != (uint32_t)reason)
		fprintf(stderr, "ended with reason %u: %s\n", end.reason, end.text);
	CHECK(end.reason == (uint32_t)reason);
}

/* All of data, as fast as the machine takes it. */
static void feed(struct vmm *vmm, size_t (*give)(struct vmm *, const void *, size_t), const char *data, size_t bytes)
{
	struct vmm_exit end;

	while (bytes) {
		size_t n = give(vmm, data, bytes);

		CHECK(n <= bytes && vmm_wait(vmm, 0, &end) == 0);
		data += n;
		bytes -= n;
		if (!n)
			nap();
	}
}

static void check_file(int fd, const char *expected, size_t bytes)
{
	static char found[1 << 16];

	CHECK(pread(fd, found, sizeof(found), 0) == (ssize_t)bytes && memcmp(found, expected, bytes) == 0);
}

/* Letters and one newline, at the end. */
static void fill_text(char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		text[i] = (char)('a' + (i + i / 26) % 26);
	text[bytes - 1] = '\n';
}

TEST(what_is_typed_reaches_the_guest_in_order)
{
	static char text[600]; /* more than a line of the device's */
	struct vmm_config config = guest_config("serial echo");
	struct vmm *vmm;

	fill_text(text, sizeof(text));
	config.console_fd = output_file();
	vmm = create(&config);
	CHECK(vmm_type(vmm, text, 100) == 100); /* waits for the machine to start */
	CHECK(vmm_start(vmm, &error) == 0);
	feed(vmm, vmm_type, text + 100, sizeof(text) - 100);
	check_end(vmm, VMM_POWER_OFF);
	check_file(config.console_fd, text, sizeof(text));
	vmm_destroy(vmm);
}

TEST(what_is_sent_reaches_the_guest_in_order)
{
	static char text[20000]; /* more than the device keeps */
	struct vmm_config config = guest_config("port echo");
	struct vmm_output output;
	struct vmm *vmm;

	fill_text(text, sizeof(text));
	config.channel_fd = output_file();
	vmm = create(&config);
	CHECK(vmm_send(vmm, text, sizeof(text)) == 4096);
	CHECK(vmm_start(vmm, &error) == 0);
	feed(vmm, vmm_send, text + 4096, sizeof(text) - 4096);
	check_end(vmm, VMM_POWER_OFF);
	check_file(config.channel_fd, text, sizeof(text));
	vmm_channel_output(vmm, &output);
	CHECK(output.written == sizeof(text) && output.dropped == 0 && output.error == 0);
	vmm_destroy(vmm);
}

TEST(garbage_in_every_register_and_ring_is_the_guests_own_trouble)
{
	struct vmm_config config = guest_config("garbage");
	char warnings[1024];
	struct vmm *vmm = start(&config);

	check_end(vmm, VMM_POWER_OFF);
	vmm_warnings(vmm, warnings, sizeof(warnings));
	CHECK(strstr(warnings, "virtio console: ")); /* which said what was wrong with the first ring */
	vmm_destroy(vmm);
}

TEST(a_guest_that_leaves_its_memory_is_an_internal_error)
{
	struct vmm_config config = guest_config("leave");

	run_to(&config, VMM_INTERNAL_ERROR, "rip 0xd0000000");
}

/* The policy and priority of this process's thread of that name; false when there is none. */
static bool policy_of(const char *name, int *policy, int *priority)
{
	DIR *folder = opendir("/proc/self/task");
	bool found = false;

	for (struct dirent *entry; !found && (entry = readdir(folder));) {
		char path[300], text[32] = "";
		struct sched_param param;
		pid_t tid = atoi(entry->d_name);
		int fd;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		CHECK(read(fd, text, sizeof(text) - 1) >= 0);
		close(fd);
		text[strcspn(text, "\n")] = 0;
		if (strcmp(text, name))
			continue;
		*policy = sched_getscheduler(tid);
		CHECK(sched_getparam(tid, &param) == 0);
		*priority = param.sched_priority;
		found = true;
	}
	closedir(folder);
	return found;
}

static void check_policy(const char *name, int expected_policy, int expected_priority)
{
	int policy, priority;

	for (int i = 0; i < 4000 && !policy_of(name, &policy, &priority); i++)
		nap(); /* threads name themselves */
	CHECK(policy_of(name, &policy, &priority));
	if (policy != expected_policy || priority != expected_priority)
		fprintf(stderr, "%s: policy %d, priority %d\n", name, policy, priority);
	CHECK(policy == expected_policy && priority == expected_priority);
}

TEST(threads_get_the_priority_they_are_given)
{
	struct vmm_config config = CONFIG(HALT);
	char warnings[1024];
	struct vmm *vmm;

	config.fifo_priority = 7;
	vmm = start(&config);
	vmm_warnings(vmm, warnings, sizeof(warnings));
	if (warnings[0])
		fprintf(stderr, "%s", warnings);
	CHECK(warnings[0] == 0);
	check_policy("vcpu-0", SCHED_FIFO, 7);
	check_policy("vcpu-1", SCHED_FIFO, 7);
	check_policy("vmm-supervisor", SCHED_FIFO, 8);
	vmm_destroy(vmm);
}

static void drop_capability(uint32_t number)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	CHECK(syscall(SYS_capget, &header, data) == 0);
	data[number / 32].effective &= ~(1U << number % 32);
	CHECK(syscall(SYS_capset, &header, data) == 0);
}

TEST(a_priority_that_the_host_refuses_is_a_warning)
{
	const struct rlimit none = { 0, 0 };
	struct vmm_config config = CONFIG(COUNT);
	char warnings[1024];
	struct vmm *vmm;

	CHECK(setrlimit(RLIMIT_RTPRIO, &none) == 0);
	drop_capability(CAP_SYS_NICE);
	config.fifo_priority = 7;
	vmm = start(&config);
	until_counter_passes(vmm, 0);
	vmm_warnings(vmm, warnings, sizeof(warnings));
	/* Once, not for each thread. */
	CHECK(strcmp(warnings, "SCHED_FIFO priority 8: Operation not permitted\n") == 0);
	check_policy("vcpu-0", SCHED_OTHER, 0);
	check_policy("vmm-supervisor", SCHED_OTHER, 0);
	vmm_destroy(vmm);
}

static atomic_bool enough;

/* Every call that looks or speaks, in no order. Their answers depend on when they come. */
static void *use(void *arg)
{
	static atomic_uint turns;
	struct vmm *vmm = arg;
	struct vmm_error unused;
	struct vmm_registers registers;
	struct vmm_output output;
	struct vmm_times times;
	struct vmm_stat stats[8];
	struct vmm_exit end;
	char text[1024];
	uint64_t value;

	while (!atomic_load(&enough)) {
		switch (atomic_fetch_add(&turns, 1) % 10) {
		case 0:
			if (vmm_pause(vmm, &unused) == 0)
				vmm_resume(vmm);
			break;
		case 1:
			vmm_registers(vmm, 1, &registers, &unused);
			break;
		case 2:
			CHECK(vmm_times(vmm, 0, &times, &unused) == 0);
			break;
		case 3:
			CHECK(vmm_stats(vmm, 0, stats, 8, &unused) > 0);
			break;
		case 4:
			vmm_warnings(vmm, text, sizeof(text));
			break;
		case 5:
			vmm_console_output(vmm, &output);
			vmm_channel_output(vmm, &output);
			break;
		case 6:
			vmm_send(vmm, "sent", 4);
			vmm_type(vmm, "typed", 5);
			break;
		case 7:
			CHECK(vmm_read(vmm, 0x7000, &value, sizeof(value), &unused) == 0);
			break;
		case 8:
			vmm_wait(vmm, 1, &end);
			break;
		default:
			vmm_kick(vmm);
		}
	}
	return NULL;
}

/* A life, from before the start to after the end, under the eyes of others; one of them stops it. */
static void live_among(const struct vmm_config *config, int others, unsigned int stop_after_ms)
{
	struct vmm *vmm = create(config);
	pthread_t threads[4];
	struct vmm_exit end;

	atomic_store(&enough, false);
	for (int i = 0; i < others; i++)
		CHECK(pthread_create(&threads[i], NULL, use, vmm) == 0);
	CHECK(vmm_start(vmm, &error) == 0);
	CHECK(vmm_wait(vmm, stop_after_ms, &end) == 0);
	vmm_stop(vmm);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_STOPPED);
	atomic_store(&enough, true);
	for (int i = 0; i < others; i++)
		pthread_join(threads[i], NULL);
	vmm_destroy(vmm);
}

TEST(many_threads_use_one_machine)
{
	struct vmm_config config = CONFIG(COUNT);

	config.fifo_priority = 100; /* refused, with a warning, while others read warnings */
	for (unsigned int i = 0; i < 8; i++)
		live_among(&config, 4, 20 * i);
}

static void *read_warnings(void *vmm)
{
	char text[1024];

	while (!atomic_load(&enough))
		vmm_warnings(vmm, text, sizeof(text));
	return NULL;
}

TEST(warnings_may_be_read_while_they_are_made)
{
	struct vmm_config config = CONFIG(COUNT);

	config.fifo_priority = 100; /* which is none */
	for (int i = 0; i < 10; i++) {
		struct vmm *vmm = create(&config);
		pthread_t thread;

		atomic_store(&enough, false);
		CHECK(pthread_create(&thread, NULL, read_warnings, vmm) == 0);
		nap();
		CHECK(vmm_start(vmm, &error) == 0);
		atomic_store(&enough, true);
		pthread_join(thread, NULL);
		vmm_destroy(vmm);
	}
}

static void *stop(void *vmm)
{
	vmm_stop(vmm);
	return NULL;
}

/* Whoever is first: it ends, once, and either never started or was stopped. */
TEST(a_stop_may_come_while_it_starts)
{
	struct vmm_config config = CONFIG(COUNT);

	for (int i = 0; i < 30; i++) {
		struct vmm *vmm = create(&config);
		pthread_t thread;
		int rc;

		CHECK(pthread_create(&thread, NULL, stop, vmm) == 0);
		if (i % 3)
			nanosleep(&(struct timespec){ .tv_nsec = i * 20000 }, NULL);
		rc = vmm_start(vmm, &error);
		CHECK(rc == 0 || rc == -EALREADY);
		pthread_join(thread, NULL);
		check_end(vmm, VMM_STOPPED);
		vmm_destroy(vmm);
	}
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Both pipes have an end for reading; the smallest there is, as their queues have to get full, too. */
static void open_unread(struct vmm_config *config, int console[2], int channel[2])
{
	CHECK(pipe2(console, O_CLOEXEC) == 0 && pipe2(channel, O_CLOEXEC) == 0);
	CHECK(fcntl(console[1], F_SETPIPE_SZ, 4096) == 4096 && fcntl(channel[1], F_SETPIPE_SZ, 4096) == 4096);
	config->console_fd = console[1];
	config->channel_fd = channel[1];
	config->channel_limit = config->console_limit = 1 << 30;
}

TEST(output_that_nobody_reads_holds_up_neither_the_guest_nor_the_end)
{
	struct vmm_config config = guest_config("flood");
	struct vmm_output console = { 0 }, channel = { 0 };
	struct vmm_exit end;
	struct vmm *vmm;
	int fds[2][2];
	int64_t began;

	alarm(TIMEOUT_MS / 1000);
	open_unread(&config, fds[0], fds[1]);
	vmm = start(&config);
	while (channel.dropped == 0 || counter(vmm) < 20) { /* more than the console's pipe takes */
		nap();
		vmm_channel_output(vmm, &channel);
		CHECK(vmm_wait(vmm, 0, &end) == 0);
	}
	vmm_console_output(vmm, &console);
	CHECK(console.error == 0 && console.written > 0 && console.written <= 4096);
	CHECK(channel.error == EAGAIN && channel.written > 0 && channel.written <= 4096);
	until_counter_passes(vmm, counter(vmm));
	began = now_ms();
	vmm_stop(vmm);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_STOPPED);
	vmm_console_output(vmm, &console);
	CHECK(console.error == EAGAIN && console.dropped > 0);
	vmm_destroy(vmm);
	CHECK(now_ms() - began < 1000);
}

/* The supervisor writes what the pipe did not take at once, as soon as somebody reads, and the rest at the end. */
TEST(a_late_reader_gets_all_that_was_kept)
{
	static const char code[] = "\x66\xba\xf8\x03\x48\x8d\x35\x08\x00\x00\x00\xb9\x10\x27\x00\x00\xf3\x6e" POWER_OFF;
	struct vmm_config config = CONFIG(code); /* mov dx, 0x3f8; lea rsi, [rip + 8]; mov ecx, 10000; rep outsb */
	struct vmm_output output = { 0 };
	struct vmm_exit end;
	struct vmm *vmm;
	int fds[2][2];
	char got[1000];
	size_t all = 0;

	alarm(TIMEOUT_MS / 1000);
	open_unread(&config, fds[0], fds[1]);
	vmm = start(&config);
	while (output.written < 3500)
		vmm_console_output(vmm, &output);
	while (all < 9 * sizeof(got)) { /* the last line is not full, and comes with the end */
		ssize_t n = read(fds[0][0], got, sizeof(got));

		CHECK(n > 0);
		all += (size_t)n;
	}
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_POWER_OFF);
	vmm_destroy(vmm);
	close(fds[0][1]);
	for (ssize_t n; (n = read(fds[0][0], got, sizeof(got))); all += (size_t)n)
		CHECK(n > 0);
	CHECK(all == 10000);
}
