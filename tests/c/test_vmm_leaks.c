// SPDX-License-Identifier: GPL-2.0-only
/* Whatever ends a machine, or keeps one from being made: nothing of it is left, and the cause is named. */
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "vmm_machine.h"

/* What a process has of machines. */
struct possessions {
	uint32_t fds, threads, mappings;
	long resident_kib;
};

static long resident_kib(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	while (kib < 0 && fgets(line, sizeof(line), status))
		sscanf(line, "VmRSS: %ld kB", &kib);
	fclose(status);
	CHECK(kib > 0);
	return kib;
}

static struct possessions possessions(void)
{
	return (struct possessions){ entries("/proc/self/fd"), entries("/proc/self/task"), mappings(), resident_kib() };
}

static void check_same(const struct possessions *before)
{
	bool threads_gone = threads_become(before->threads);
	struct possessions now = possessions();

	if (now.fds != before->fds || now.threads != before->threads || now.mappings > before->mappings + 2 ||
	    now.resident_kib > before->resident_kib + 8192)
		fprintf(stderr, "fds %u, threads %u, mappings %u, %ld KiB; now %u, %u, %u, %ld\n", before->fds,
			before->threads, before->mappings, before->resident_kib, now.fds, now.threads, now.mappings,
			now.resident_kib);
	CHECK(threads_gone && now.fds == before->fds);
	CHECK(now.mappings <= before->mappings + 2); /* of the heap */
	CHECK(now.resident_kib <= before->resident_kib + 8192);
}

/* KTSTR_CYCLES of them; one more machine of KVM's than there should be is an fd that is left. */
TEST(cycles_leave_nothing_behind)
{
	const char *asked = getenv("KTSTR_CYCLES");
	unsigned long cycles = asked ? strtoul(asked, NULL, 10) : 20;
	struct vmm_config config = CONFIG(COUNT);
	struct possessions before;

	CHECK(cycles);
	for (unsigned long i = 0; i < cycles + 10; i++) {
		struct vmm *vmm = start(&config);

		until_counter_passes(vmm, 0);
		vmm_destroy(vmm);
		if (i == 9) /* allocators and thread stacks have settled */
			before = possessions();
	}
	check_same(&before);
	printf("%lu cycles\n", cycles);
}

TEST(machines_that_never_start_leave_nothing_behind)
{
	struct vmm_config config = CONFIG(COUNT);
	struct possessions before = { 0 };

	for (int i = 0; i < 60; i++) {
		if (i == 10)
			before = possessions();
		vmm_destroy(create(&config));
	}
	check_same(&before);
}

/* --- what the host refuses --- */

/* From here on an ioctl of this request, with this argument unless it is 0, fails with code; or gives 0 for 0. */
static void refuse(uint32_t request, uint32_t argument, uint32_t code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument, 0, argument ? 1 : 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

/* In a process of its own, which checks. */
static void apart(void (*check)(const void *), const void *what)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		check(what);
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

struct refusal {
	uint32_t request, argument;
	const char *name;
};

/* All ioctls on the way to a machine. */
static const struct refusal ioctls[] = {
	{ KVM_CREATE_VM, 0, "KVM_CREATE_VM" },
	{ KVM_SET_IDENTITY_MAP_ADDR, 0, "KVM_SET_IDENTITY_MAP_ADDR" },
	{ KVM_SET_TSS_ADDR, 0, "KVM_SET_TSS_ADDR" },
	{ KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP" },
	{ KVM_CREATE_PIT2, 0, "KVM_CREATE_PIT2" },
	{ KVM_ENABLE_CAP, 0, "KVM_ENABLE_CAP" },
	{ KVM_SET_USER_MEMORY_REGION, 0, "KVM_SET_USER_MEMORY_REGION" },
	{ KVM_SET_GSI_ROUTING, 0, "KVM_SET_GSI_ROUTING" },
	{ KVM_IRQFD, 0, "KVM_IRQFD" },
	{ KVM_GET_SUPPORTED_CPUID, 0, "KVM_GET_SUPPORTED_CPUID" },
	{ KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU" },
	{ KVM_SET_SIGNAL_MASK, 0, "KVM_SET_SIGNAL_MASK" },
	{ KVM_SET_CPUID2, 0, "KVM_SET_CPUID2" },
	{ KVM_SET_MSRS, 0, "KVM_SET_MSRS" },
	{ KVM_SET_FPU, 0, "KVM_SET_FPU" },
	{ KVM_GET_SREGS, 0, "KVM_GET_SREGS" },
	{ KVM_SET_SREGS, 0, "KVM_SET_SREGS" },
	{ KVM_GET_LAPIC, 0, "KVM_GET_LAPIC" },
	{ KVM_SET_LAPIC, 0, "KVM_SET_LAPIC" },
	{ KVM_SET_REGS, 0, "KVM_SET_REGS" },
};

static void check_failing_ioctl(const void *what)
{
	const struct refusal *refusal = what;
	struct vmm_config config = CONFIG(HALT);
	struct possessions before;

	vmm_destroy(create(&config));
	before = possessions();
	refuse(refusal->request, 0, ENOMEM);
	refused(&config, ENOMEM, refusal->name);
	CHECK(strstr(error.text, "Cannot allocate memory"));
	check_same(&before);
}

TEST(any_ioctl_that_fails_is_named_and_leaves_nothing_behind)
{
	for (size_t i = 0; i < sizeof(ioctls) / sizeof(ioctls[0]); i++)
		apart(check_failing_ioctl, &ioctls[i]);
}

static const struct refusal capabilities[] = {
	{ KVM_CHECK_EXTENSION, KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API" },
	{ KVM_CHECK_EXTENSION, KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
};

/* An errno of 0 makes the call give 0: the answer of a KVM that has not got it. */
static void check_capability(const void *what)
{
	const struct refusal *refusal = what;
	struct vmm_config config = CONFIG(HALT);
	struct possessions before = possessions();

	refuse(refusal->request, refusal->argument, 0);
	refused(&config, ENOSYS, refusal->name);
	check_same(&before);
}

TEST(a_capability_that_kvm_lacks_is_named)
{
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		apart(check_capability, &capabilities[i]);
}

TEST(a_kvm_of_another_version_is_refused)
{
	struct vmm_config config = CONFIG(HALT);

	refuse(KVM_GET_API_VERSION, 0, 0);
	refused(&config, ENOSYS, "KVM_GET_API_VERSION: found 0, expected 12");
}

TEST(a_run_that_the_host_fails_ends_the_machine)
{
	struct vmm_config config = CONFIG(HALT);

	refuse(KVM_RUN, 0, EFAULT);
	run_to(&config, VMM_HOST_ERROR, "Bad address; is the host out of memory");
}

TEST(a_user_without_permission_is_told_what_to_do)
{
	struct vmm_config config = CONFIG(HALT);

	CHECK(seteuid(65534) == 0); /* nobody; it also takes root's capabilities */
	refused(&config, EACCES, "open /dev/kvm: Permission denied; add the user to the group");
}

TEST(a_fifo_is_refused_and_not_waited_for)
{
	char folder[] = "/tmp/vmm-fifo-XXXXXX", path[64];
	struct vmm_config config = CONFIG(HALT);

	CHECK(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/kernel", folder);
	CHECK(mkfifo(path, 0600) == 0);
	config.kernel = path;
	alarm(30);
	refused(&config, EINVAL, "expected a regular file");
	unlink(path);
	rmdir(folder);
}

TEST(a_host_cpu_beyond_all_numbers_is_a_warning)
{
	struct vmm_config config = CONFIG(POWER_OFF);
	char warnings[1024];
	struct vmm *vmm;

	config.pin = (const int32_t[]){ 0, 5000 };
	vmm = start(&config);
	vmm_warnings(vmm, warnings, sizeof(warnings));
	CHECK(strcmp(warnings, "pinning vCPU 1 to host CPU 5000: Invalid argument\n") == 0);
	vmm_destroy(vmm);
}

static uint64_t address_space(void)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	CHECK(fscanf(statm, "%lu", &pages) == 1);
	fclose(statm);
	return pages * 4096ULL;
}

TEST(a_process_without_room_for_guest_memory_is_told_so)
{
	struct vmm_config config = CONFIG(HALT);
	struct possessions before;
	struct rlimit limit;

	vmm_destroy(create(&config));
	before = possessions();
	CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
	limit.rlim_cur = address_space() + (32 << 20);
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	refused(&config, ENOMEM, "64 MiB of guest memory");
	check_same(&before);
}

/* Stacks of 8 MiB are the first that does not fit: some of 64 threads are there when the next is refused. */
TEST(a_start_without_room_for_its_threads_is_undone)
{
	struct vmm_config config = CONFIG(COUNT);
	struct rlimit limit;
	struct vmm_exit end;
	struct vmm *vmm;

	config.cores = 64;
	vmm = create(&config);
	CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
	limit.rlim_cur = address_space() + (100 << 20);
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	CHECK(vmm_start(vmm, &error) == -EAGAIN && strstr(error.text, "creating the thread of vCPU "));
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1 && end.reason == VMM_HOST_ERROR && end.code == EAGAIN);
	CHECK(vmm_start(vmm, &error) == -EALREADY);
	vmm_destroy(vmm);
	CHECK(threads_become(3)); /* with "." and ".." */
}

/* As many as there are files for, all of which run on when the next is refused. */
static void fill_up(const struct vmm_config *config)
{
	struct vmm *machines[64];
	uint32_t n = 0;

	while (n < 64 && (machines[n] = vmm_create(config, &error)))
		CHECK(vmm_start(machines[n++], &error) == 0);
	CHECK(n > 1 && n < 64 && error.code == EMFILE && strstr(error.text, "Too many open files"));
	for (uint32_t i = 0; i < n; i++)
		until_counter_passes(machines[i], counter(machines[i]));
	while (n)
		vmm_destroy(machines[--n]);
}

TEST(machines_until_files_run_out_can_all_be_given_back)
{
	struct vmm_config config = CONFIG(COUNT);
	struct possessions before;
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 100;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	fill_up(&config); /* thread stacks stay cached */
	before = possessions();
	fill_up(&config);
	check_same(&before);
}

/* --- kill -9 --- */

#define MACHINES 4
#define A_SECOND_MS 1000

/* Start the machines, say so, and wait to be killed. In a session of its own. */
static void be_killed(int told)
{
	struct vmm_config config = CONFIG(COUNT);

	setsid();
	config.flags = VMM_POPULATE;
	for (int i = 0; i < MACHINES; i++)
		until_counter_passes(start(&config), 0);
	CHECK(write(told, "", 1) == 1);
	for (;;)
		pause();
}

/* How many processes are of the session. Memory is private and not inherited, KVM's files close on exec. */
static uint32_t survivors(pid_t session)
{
	DIR *folder = opendir("/proc");
	uint32_t n = 0;

	for (struct dirent *entry; (entry = readdir(folder));) {
		pid_t pid = atoi(entry->d_name);

		n += pid > 0 && getsid(pid) == session;
	}
	closedir(folder);
	return n;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

TEST(a_killed_process_takes_its_machines_with_it)
{
	int told[2], status;
	uint64_t killed;
	pid_t child;
	char ready;

	CHECK(pipe(told) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		be_killed(told[1]);
	CHECK(read(told[0], &ready, 1) == 1);
	CHECK(survivors(child) == 1); /* the one that will be killed: the search finds what it looks for */
	killed = now_ms();
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status)); /* all of its threads are gone */
	CHECK(survivors(child) == 0);
	if (now_ms() - killed >= A_SECOND_MS)
		fprintf(stderr, "%llu ms\n", (unsigned long long)(now_ms() - killed));
	CHECK(now_ms() - killed < A_SECOND_MS);
}

TEST(a_child_inherits_no_guest_memory)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config);
	struct vmm_piece piece;
	uint8_t resident;
	int status;
	pid_t child;

	until_counter_passes(vmm, 0);
	CHECK(vmm_pieces(vmm, &piece, 1) == 1 && mincore((void *)piece.host, 4096, &resident) == 0);
	child = fork();
	if (child == 0)
		_exit(mincore((void *)piece.host, 4096, &resident) == -1 && errno == ENOMEM ? 0 : 1);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	vmm_destroy(vmm);
}
