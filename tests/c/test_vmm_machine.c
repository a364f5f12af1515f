// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whole machines on this host's KVM, by the public interface alone. Their kernels are a few bytes of
 * machine code at 16 MiB, entered in 64-bit mode by the boot CPU.
 */
#include <linux/kvm.h>
#include <malloc.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "vmm_machine.h"

static atomic_uint halt_polls_off;

/* In place of the C library's: what the VMM asks of KVM goes by here. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == KVM_ENABLE_CAP && ((const struct kvm_enable_cap *)arg)->cap == KVM_CAP_HALT_POLL)
		halt_polls_off += ((const struct kvm_enable_cap *)arg)->args[0] == 0;
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

static bool polls_before_it_halts(const struct vmm_config *config)
{
	uint32_t before = halt_polls_off;

	vmm_destroy(create(config));
	return halt_polls_off == before;
}

/* However many CPUs the host has. */
TEST(vcpus_poll_before_they_halt_only_when_each_may_have_a_host_cpu)
{
	struct vmm_config config = CONFIG(HALT);
	cpu_set_t all, one;
	int first = 0;

	config.cores = 1;
	CHECK(polls_before_it_halts(&config));
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	config.cores = (uint32_t)CPU_COUNT(&all);
	CHECK(polls_before_it_halts(&config));
	config.cores++;
	CHECK(!polls_before_it_halts(&config));
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
	config.cores = 2;
	CHECK(!polls_before_it_halts(&config));
	CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
	config.pin = (const int32_t[]){ first, first };
	CHECK(!polls_before_it_halts(&config));
}

TEST(a_guest_turns_itself_off)
{
	struct vmm_config config = CONFIG(POWER_OFF);

	run_to(&config, VMM_POWER_OFF, "turned itself off");
}

TEST(a_guest_resets_itself)
{
	struct vmm_config config = CONFIG(RESET);

	run_to(&config, VMM_RESET, "asked for a reset");
}

TEST(a_triple_fault_is_an_end_of_its_own)
{
	struct vmm_config config = CONFIG(TRIPLE_FAULT);

	run_to(&config, VMM_TRIPLE_FAULT, "triple fault on vCPU 0");
}

TEST(the_deadline_ends_a_guest_that_spins)
{
	struct vmm_config config = CONFIG(SPIN);

	config.deadline_ms = 50;
	run_to(&config, VMM_DEADLINE, "50 ms");
}

TEST(the_deadline_ends_a_guest_that_sleeps)
{
	struct vmm_config config = CONFIG(HALT);

	config.deadline_ms = 50;
	run_to(&config, VMM_DEADLINE, "50 ms");
}

TEST(string_output_reaches_the_console_whole)
{
	/* mov dx, 0x3f8; lea rsi, [rip + 11]; mov ecx, 6; rep outsb; reset */
	struct vmm_config config = CONFIG("\x66\xba\xf8\x03\x48\x8d\x35\x0b\x00\x00\x00\xb9\x06\x00\x00\x00\xf3\x6e\xb0\xfe\xe6\x64"
					  "hello\n");
	struct vmm_output output;
	struct vmm_exit end;
	struct vmm *vmm;

	config.console_fd = output_file();
	vmm = start(&config);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_RESET);
	check_output(config.console_fd, "hello\n");
	vmm_console_output(vmm, &output);
	CHECK(output.written == 6 && output.dropped == 0 && output.error == 0);
	vmm_destroy(vmm);
	config.console_limit = 2;
	ftruncate(config.console_fd, 0);
	lseek(config.console_fd, 0, SEEK_SET);
	vmm = start(&config);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1);
	vmm_console_output(vmm, &output);
	CHECK(output.written == 2 && output.dropped == 4 && output.error == EFBIG);
	vmm_destroy(vmm);
}

TEST(a_paused_guest_stands_still_and_goes_on)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config);
	uint64_t found;

	until_counter_passes(vmm, 0);
	for (int i = 0; i < 20; i++) {
		CHECK(vmm_pause(vmm, &error) == 0 && vmm_pause(vmm, &error) == 0);
		found = counter(vmm);
		nap();
		CHECK(counter(vmm) == found);
		vmm_resume(vmm);
		nap();
		CHECK(counter(vmm) == found); /* held twice, let go once */
		vmm_resume(vmm);
		until_counter_passes(vmm, found);
	}
	CHECK(vmm_pause(vmm, &error) == 0);
	vmm_destroy(vmm); /* which a hold does not stop */
}

TEST(kicks_do_not_stop_a_guest)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config);
	struct vmm_exit end;

	until_counter_passes(vmm, 0);
	for (int i = 0; i < 2000; i++)
		vmm_kick(vmm);
	until_counter_passes(vmm, counter(vmm));
	CHECK(vmm_wait(vmm, 0, &end) == 0 && end.reason == VMM_RUNNING);
	vmm_destroy(vmm);
}

/* The process may have used up all signals that it may queue: each of the real-time ones has its own place. */
TEST(kicks_need_no_room_for_queued_signals)
{
	const struct rlimit none = { 0, 0 };
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm;
	struct vmm_exit end;
	uint64_t found;

	alarm(TIMEOUT_MS / 1000);
	CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
	vmm = start(&config);
	for (int i = 0; i < 20; i++) {
		until_counter_passes(vmm, counter(vmm));
		CHECK(vmm_pause(vmm, &error) == 0);
		found = counter(vmm);
		nap();
		CHECK(counter(vmm) == found);
		vmm_resume(vmm);
	}
	vmm_stop(vmm);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_STOPPED);
	vmm_destroy(vmm);
}

/* Signals that wait for a thread of this process. */
static unsigned long pending_signals(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned long pending = 0;

	for (struct dirent *entry; (entry = readdir(tasks));) {
		char path[300], line[256];
		unsigned long one;
		FILE *status;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		status = fopen(path, "r");
		while (status && fgets(line, sizeof(line), status))
			if (sscanf(line, "SigPnd: %lx", &one) == 1)
				pending |= one;
		if (status)
			fclose(status);
	}
	closedir(tasks);
	return pending;
}

TEST(kicks_pass_over_vcpus_that_are_outside_of_the_guest)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config);
	unsigned long before;

	until_counter_passes(vmm, 0);
	CHECK(vmm_pause(vmm, &error) == 0);
	before = pending_signals(); /* of the pause, when it met a vCPU on its way out */
	for (int i = 0; i < 100; i++)
		vmm_kick(vmm);
	CHECK(pending_signals() == before);
	vmm_resume(vmm);
	until_counter_passes(vmm, counter(vmm));
	vmm_destroy(vmm);
}

TEST(registers_are_the_guests_before_while_and_after_it_runs)
{
	struct vmm_config config = CONFIG(SET_RAX);
	struct vmm *vmm = create(&config);
	struct vmm_registers registers;
	struct vmm_exit end;

	CHECK(vmm_registers(vmm, 0, &registers, &error) == 0 && registers.rip == CODE_AT && registers.rflags == 2);
	CHECK(registers.efer == 0x500 && registers.cs == 0x10);
	CHECK(vmm_start(vmm, &error) == 0);
	/* Not one read after the other: on a slow host its kick meets each entry before the first instruction. */
	for (int i = 0; i < TIMEOUT_MS && registers.rax != 0x1122334455667788; i++) {
		nap();
		CHECK(vmm_registers(vmm, 0, &registers, &error) == 0);
	}
	CHECK(registers.rax == 0x1122334455667788 && registers.rip == CODE_AT + 10);
	vmm_stop(vmm);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_STOPPED);
	CHECK(vmm_registers(vmm, 0, &registers, &error) == 0 && registers.rax == 0x1122334455667788);
	CHECK(vmm_registers(vmm, 2, &registers, &error) == -EINVAL);
	CHECK(vmm_pause(vmm, &error) == -ESRCH);
	vmm_destroy(vmm);
}

TEST(a_machine_starts_once)
{
	struct vmm_config config = CONFIG(HALT);
	struct vmm *vmm = start(&config);
	struct vmm_exit end;

	CHECK(vmm_start(vmm, &error) == -EALREADY);
	vmm_destroy(vmm);
	vmm = create(&config);
	vmm_stop(vmm);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_STOPPED);
	CHECK(vmm_start(vmm, &error) == -EALREADY);
	vmm_destroy(vmm);
	vmm_destroy(NULL);
}

TEST(times_and_statistics_are_measured)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config);
	struct vmm_stat stats[256];
	struct vmm_times busy, idle, after;
	uint64_t exits = 0;
	int n;

	until_counter_passes(vmm, 0);
	nap();
	vmm_kick(vmm);
	CHECK(vmm_times(vmm, 0, &busy, &error) == 0 && vmm_times(vmm, 1, &idle, &error) == 0);
	CHECK(busy.cpu_ns > 1000000 && idle.cpu_ns < busy.cpu_ns);
	n = vmm_stats(vmm, 0, stats, 256, &error);
	CHECK(n > 10 && n <= 256 && vmm_stats(vmm, 0, stats, 0, &error) == n && vmm_stats(vmm, -1, stats, 0, &error) > 0);
	CHECK(vmm_stats(vmm, 0, stats, 256, &error) == n);
	for (int i = 0; i < n; i++)
		exits += strcmp(stats[i].name, "exits") == 0 ? stats[i].value : 0;
	CHECK(exits > 0);
	vmm_stop(vmm);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &(struct vmm_exit){ 0 }) == 1);
	CHECK(vmm_times(vmm, 0, &after, &error) == 0 && after.cpu_ns >= busy.cpu_ns);
	CHECK(vmm_times(vmm, 2, &after, &error) == -EINVAL && vmm_stats(vmm, -2, stats, 1, &error) == -EINVAL);
	vmm_destroy(vmm);
}

TEST(memory_is_read_where_its_pieces_are)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm;
	struct vmm_piece pieces[4];
	const volatile uint64_t *mapped;

	config.nodes = config.llcs = 2;
	config.cores = 1;
	vmm = start(&config);
	CHECK(vmm_pieces(vmm, pieces, 4) == 2 && vmm_pieces(vmm, pieces, 1) == 2);
	CHECK(pieces[1].address == 32 << 20 && pieces[1].bytes == 32 << 20 && pieces[1].node == 1);
	mapped = pieces[0].host;
	for (int i = 0; i < 4000 && !mapped[COUNTER / 8]; i++)
		nap();
	CHECK(mapped[COUNTER / 8] && counter(vmm));
	CHECK(vmm_write(vmm, 64 << 20, "x", 1, &error) == -EFAULT && vmm_write(vmm, (64 << 20) - 1, "x", 1, &error) == 0);
	vmm_destroy(vmm);
}

/*
 * The boot CPU copies 16-bit code that turns the machine off to 0x8000 and sends INIT and SIPI to the
 * last APIC id by x2APIC, which it is started in when ids need it.
 */
TEST(a_cpu_whose_id_needs_x2apic_starts)
{
	static const char code[] =
		"\x48\xb8\xba\x04\x06\xb8\x00\x34\xef\xf4" /* mov rax, the 16-bit code */
		"\x48\xa3\x00\x80\x00\x00\x00\x00\x00\x00" /* mov [0x8000], rax */
		"\xb9\x30\x08\x00\x00" /* mov ecx, 0x830: ICR */
		"\xba\xb1\x01\x00\x00" /* mov edx, 433 */
		"\xb8\x00\x45\x00\x00\x0f\x30" /* INIT */
		"\xb8\x08\x46\x00\x00\x0f\x30" /* SIPI for 0x8000 */
		HALT;
	struct vmm_config config = CONFIG(code);

	config.llcs = 14; /* the preset max-cpu: 252 CPUs, ids up to 433 */
	config.cores = 9;
	config.threads = 2;
	config.deadline_ms = TIMEOUT_MS;
	run_to(&config, VMM_POWER_OFF, "turned itself off");
}

TEST(what_cannot_be_a_machine_is_refused)
{
	struct vmm_config good = CONFIG(HALT), bad = good;

	bad.kernel = "/nonexistent/vmlinux";
	refused(&bad, ENOENT, "/nonexistent/vmlinux");
	bad.kernel = "/proc/self/exe";
	refused(&bad, ENOEXEC, "/proc/self/exe");
	bad = good;
	bad.memory_bytes = 8 << 20;
	refused(&bad, ENOMEM, "give it more");
	bad.memory_bytes = 0;
	refused(&bad, EINVAL, "guest memory");
	bad = good;
	bad.cores = 0;
	refused(&bad, EINVAL, "");
	bad.cores = 513;
	refused(&bad, EINVAL, "");
	bad = good;
	bad.nodes = 3;
	bad.llcs = 4;
	refused(&bad, EINVAL, "");
	bad = good;
	bad.initrd_parts = 1;
	bad.initrd = (const char *const[]){ "/nonexistent/initrd" };
	refused(&bad, ENOENT, "/nonexistent/initrd");
	bad = good;
	bad.distances = (const uint8_t[]){ 20 };
	refused(&bad, EINVAL, "");
}

TEST(large_pages_that_the_host_has_not_are_refused_at_once)
{
	struct vmm_config config = CONFIG(HALT);

	config.flags = VMM_HUGE_PAGES;
	config.memory_bytes = 1ULL << 40;
	refused(&config, ENOMEM, "1048576 MiB of guest memory in 2 MiB pages");
}

TEST(a_host_that_is_out_of_files_is_named)
{
	struct vmm_config config = CONFIG(HALT);
	struct rlimit old, few;

	CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
	for (few = old, few.rlim_cur = 4; few.rlim_cur < 32; few.rlim_cur++) {
		struct vmm *vmm;

		CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
		vmm = vmm_create(&config, &error);
		CHECK(vmm || (error.code == EMFILE && strstr(error.text, "Too many open files")));
		vmm_destroy(vmm);
	}
	setrlimit(RLIMIT_NOFILE, &old);
}

static pthread_barrier_t all_run;

static void *run_one(void *config)
{
	struct vmm *vmm = start(config);

	until_counter_passes(vmm, 0);
	pthread_barrier_wait(&all_run);
	vmm_destroy(vmm);
	return NULL;
}

/* All at once: the C library keeps as many stacks as there ever were threads at one time. */
static void run_four(struct vmm_config *config)
{
	pthread_t threads[4];

	CHECK(pthread_barrier_init(&all_run, NULL, 4) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, run_one, config) == 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&all_run);
}

TEST(machines_side_by_side_leave_nothing_behind)
{
	struct vmm_config config = CONFIG(COUNT), bad = config;
	uint32_t fds, maps, threads;

	mallopt(M_ARENA_MAX, 1); /* how many it makes depends on which threads met in malloc */
	bad.memory_bytes = 8 << 20;
	run_four(&config);
	nap();
	threads = entries("/proc/self/task");
	fds = entries("/proc/self/fd");
	maps = mappings();
	for (int i = 0; i < 5; i++) {
		run_four(&config);
		refused(&bad, ENOMEM, "give it more");
		vmm_destroy(create(&config));
	}
	CHECK(entries("/proc/self/fd") == fds && threads_become(threads));
	/* One that each machine left would be 30; a few are the C library's and the sanitizers' own. */
	if (mappings() >= maps + 15)
		fprintf(stderr, "%u mappings, then %u\n", maps, mappings());
	CHECK(UNDER_TSAN || mappings() < maps + 15);
}

static atomic_uint heard;

static void hear(int signal)
{
	(void)signal;
	atomic_fetch_add(&heard, 1);
}

/* Signals of the process go to the caller's threads; ours neither take nor change them. */
TEST(signals_stay_the_callers)
{
	struct vmm_config config = CONFIG(COUNT);
	struct sigaction kick, before = { .sa_handler = hear };
	struct vmm *vmm;

	CHECK(sigaction(SIGUSR1, &before, NULL) == 0);
	vmm = start(&config);
	until_counter_passes(vmm, 0);
	for (int i = 0; i < 100; i++) {
		vmm_kick(vmm);
		kill(getpid(), SIGUSR1);
	}
	CHECK(atomic_load(&heard) > 0);
	CHECK(sigaction(SIGRTMIN, NULL, &kick) == 0 && kick.sa_handler == SIG_DFL);
	CHECK(sigaction(SIGSTKFLT, NULL, &kick) == 0 && kick.sa_handler == SIG_DFL);
	until_counter_passes(vmm, counter(vmm));
	vmm_destroy(vmm);
}

TEST(what_the_host_refuses_in_performance_mode_is_a_warning)
{
	struct vmm_config config = CONFIG(POWER_OFF);
	char warnings[1024];
	struct vmm_exit end;
	struct vmm *vmm;

	config.pin = (const int32_t[]){ 0, 1023 }; /* no host has that one */
	config.node_masks = (const uint64_t[]){ 1ULL << 63 };
	config.flags = VMM_POPULATE | VMM_REALTIME_HINT | VMM_KEEP_PAUSE;
	vmm = start(&config);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_POWER_OFF);
	vmm_warnings(vmm, warnings, sizeof(warnings));
	CHECK(strstr(warnings, "pinning vCPU 1 to host CPU 1023: ") && strstr(warnings, "mbind of guest node 0"));
	CHECK(!strstr(warnings, "vCPU 0"));
	vmm_destroy(vmm);
}
