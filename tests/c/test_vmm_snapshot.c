// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots and clones of whole machines, by the public interface alone. The guests are the assembly
 * below; it is copied into a kernel file and runs at CODE_AT in 64-bit mode, with the GDT (code 0x10)
 * and the identity map of the boot.
 */
#include <math.h>
#include <sys/stat.h>

#include "vmm_clone.h"

/* Words of guest memory that both sides know, from COUNTER on. */
enum { TURNS, TICKS, TSC, GAP, BACKWARDS, FIRED_AT, PARAMETER, ONE_SHOT, DUE_AT, GO, DONE, WORDS };

#define PVCLOCK 0x1300000ULL
#define REPORTS 0x1140000ULL /* a page for each CPU */
#define PATTERN_CPUS 4

/*
 * Counts turns and looks at the TSC, as a timer runs that was armed once. Vector 0x40 counts ticks.
 */
__asm__(".pushsection .rodata\n"
	"timer_guest: mov $0x1108000, %esp\n"
	"lea timer_tick(%rip), %rax; mov $0x1200400, %edi; call set_gate_1\n"
	"movw $0xfff, 0x11ff000; movq $0x1200000, 0x11ff002; lidt 0x11ff000\n"
	"mov $0x1b, %ecx; rdmsr; or $0x400, %eax; wrmsr\n" /* x2APIC */
	"xor %edx, %edx; mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
	"mov $0x4b564d01, %ecx; mov $0x1300001, %eax; wrmsr\n" /* MSR_KVM_SYSTEM_TIME_NEW */
	"mov $0x83e, %ecx; mov $0xb, %eax; wrmsr\n" /* divide by 1 */
	"cmpq $0, 0x1100038; jne 1f\n"
	"mov $0x832, %ecx; mov $0x40040, %eax; wrmsr; mfence\n" /* deadline mode */
	"rdtsc; shl $32, %rdx; or %rdx, %rax; add 0x1100030, %rax; mov %rax, 0x1100040\n"
	"mov %rax, %rdx; shr $32, %rdx; mov $0x6e0, %ecx; wrmsr; jmp 2f\n"
	"1: mov $0x832, %ecx; mov $0x40, %eax; wrmsr; mov $0x838, %ecx; mov 0x1100030, %eax; wrmsr\n"
	"2: sti; xor %ebx, %ebx\n"
	"3: rdtsc; shl $32, %rdx; or %rdx, %rax; test %rbx, %rbx; jz 5f\n"
	"cmp %rbx, %rax; jae 4f; incq 0x1100020\n"
	"4: mov %rax, %rcx; sub %rbx, %rcx; cmp 0x1100018, %rcx; jbe 5f; mov %rcx, 0x1100018\n"
	"5: mov %rax, %rbx; mov %rax, 0x1100010; incq 0x1100000; pause; jmp 3b\n"
	"timer_tick: push %rax; push %rcx; push %rdx; incq 0x1100008\n"
	"rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, 0x1100028\n"
	"mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; pop %rdx; pop %rcx; pop %rax; iretq\n"
	/* rax: handler, edi: place in the IDT */
	"set_gate_1: mov %ax, (%rdi); movw $0x10, 2(%rdi); movw $0x8e00, 4(%rdi); shr $16, %rax\n"
	"mov %ax, 6(%rdi); movl $0, 8(%rdi); ret\n"
	"timer_guest_end:\n"
	".popsection");

/*
 * Starts all CPUs, gives each a pattern in its registers that ends with its APIC id, and has it wait:
 * CPU 1 in HLT, the others in a loop, until GO. Then each writes down what it has: FXSAVE, r8 to r14,
 * two MSRs.
 */
__asm__(".pushsection .rodata\n"
	"pattern_guest: lea trampoline(%rip), %rsi; mov $0x8000, %edi; mov $128, %ecx; rep movsb\n"
	"mov $0x1108000, %esp; lea wake(%rip), %rax; mov $0x1200410, %edi; call set_gate_2\n"
	"movw $0xfff, 0x11ff000; movq $0x1200000, 0x11ff002\n"
	"mov $0x1b, %ecx; rdmsr; or $0x400, %eax; wrmsr; xor %edx, %edx\n"
	"mov $0x830, %ecx; mov $0xc4500, %eax; wrmsr; mov $0xc4608, %eax; wrmsr\n" /* INIT, SIPI 0x8000 */
	"pattern_cpu: lidt 0x11ff000; mov $0x80000013, %eax; mov %rax, %cr0; mov $0x620, %eax; mov %rax, %cr4\n"
	"mov $0x1b, %ecx; rdmsr; or $0x400, %eax; wrmsr; xor %edx, %edx\n"
	"mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr; mov $0x802, %ecx; rdmsr; mov %eax, %r15d\n"
	"lea 1(%r15), %rsp; shl $12, %rsp; add $0x1180000, %rsp\n"
	"movabs $0x0808080808080800, %r8; add %r15, %r8; movabs $0x0909090909090900, %r9; add %r15, %r9\n"
	"movabs $0x1010101010101000, %r10; add %r15, %r10; movabs $0x1111111111111100, %r11; add %r15, %r11\n"
	"movabs $0x1212121212121200, %r12; add %r15, %r12; movabs $0x1313131313131300, %r13; add %r15, %r13\n"
	"movabs $0x1414141414141400, %r14; add %r15, %r14\n"
	"fninit; fldpi; movq %r8, %xmm0; movq %r9, %xmm1; punpcklqdq %xmm0, %xmm1; movq %r14, %xmm15\n"
	"mov %r12, %rax; shr $32, %rax; mov %eax, %edx; mov %r12d, %eax; and $0x7fff, %edx\n"
	"mov $0xc0000102, %ecx; wrmsr; mov $0xc0000082, %ecx; wrmsr\n" /* KERNEL_GS_BASE, LSTAR */
	"lock incq 0x1100000; cmp $1, %r15d; jne 2f; sti; hlt; cli; jmp 3f\n"
	"2: pause; cmpq $0, 0x1100048; je 2b\n"
	"test %r15d, %r15d; jnz 3f; xor %edx, %edx; mov $0x830, %ecx; mov $0xc4041, %eax; wrmsr\n" /* wakes CPU 1 */
	"3: mov %r15, %rdi; shl $12, %rdi; add $0x1140000, %rdi; fxsave64 (%rdi)\n"
	"mov %r8, 0x200(%rdi); mov %r9, 0x208(%rdi); mov %r10, 0x210(%rdi); mov %r11, 0x218(%rdi)\n"
	"mov %r12, 0x220(%rdi); mov %r13, 0x228(%rdi); mov %r14, 0x230(%rdi)\n"
	"mov $0xc0000102, %ecx; rdmsr; mov %eax, 0x238(%rdi); mov %edx, 0x23c(%rdi)\n"
	"mov $0xc0000082, %ecx; rdmsr; mov %eax, 0x240(%rdi); mov %edx, 0x244(%rdi)\n"
	"lock incq 0x1100050; cli; 4: hlt; jmp 4b\n"
	"wake: push %rax; push %rcx; push %rdx; mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr\n"
	"pop %rdx; pop %rcx; pop %rax; iretq\n"
	"set_gate_2: mov %ax, (%rdi); movw $0x10, 2(%rdi); movw $0x8e00, 4(%rdi); shr $16, %rax\n"
	"mov %ax, 6(%rdi); movl $0, 8(%rdi); ret\n"
	".code16\n"
	"trampoline: cli; xor %ax, %ax; mov %ax, %ds; lgdtl 0x8000 + trampoline_gdt - trampoline\n"
	"mov $0x20, %eax; mov %eax, %cr4; mov $0x9000, %eax; mov %eax, %cr3\n"
	"mov $0xc0000080, %ecx; xor %edx, %edx; mov $0x100, %eax; wrmsr\n"
	"mov $0x80000011, %eax; mov %eax, %cr0; ljmpl $0x10, $0x1000000 + pattern_cpu - pattern_guest\n"
	"trampoline_gdt: .word 0x27; .long 0x500\n"
	".code64\n"
	"pattern_guest_end:\n"
	".popsection");

extern const char timer_guest[], timer_guest_end[], pattern_guest[], pattern_guest_end[];

static uint64_t word(struct vmm *vmm, uint32_t index)
{
	uint64_t value;

	CHECK(vmm_read(vmm, COUNTER + index * 8, &value, sizeof(value), &error) == 0);
	return value;
}

static void set_word(struct vmm *vmm, uint32_t index, uint64_t value)
{
	CHECK(vmm_write(vmm, COUNTER + index * 8, &value, sizeof(value), &error) == 0);
}

static bool becomes(struct vmm *vmm, uint32_t index, uint64_t value)
{
	for (int i = 0; i < 4000 && word(vmm, index) < value; i++)
		nap();
	return word(vmm, index) == value;
}

/* The guest's kvmclock in seconds, at the last TSC it wrote down (Documentation/virt/kvm/x86/msr.rst). */
static double kvmclock(struct vmm *vmm)
{
	struct {
		uint32_t version, pad;
		uint64_t tsc, nanoseconds;
		uint32_t multiplier;
		int8_t shift;
		uint8_t flags, more[2];
	} clock;
	double ticks;

	CHECK(vmm_pause(vmm, &error) == 0 && vmm_read(vmm, PVCLOCK, &clock, sizeof(clock), &error) == 0);
	ticks = (double)(int64_t)(word(vmm, TSC) - clock.tsc);
	vmm_resume(vmm);
	CHECK(clock.version && clock.version % 2 == 0);
	return ((double)clock.nanoseconds + ldexp(ticks, clock.shift) * clock.multiplier / 4294967296.0) / 1e9;
}

static struct vmm *start_timer(struct vmm_config *config, uint64_t parameter, bool one_shot)
{
	struct vmm *vmm;

	*config = config_of(timer_guest, (size_t)(timer_guest_end - timer_guest));
	config->cores = 1;
	vmm = create(config);
	set_word(vmm, PARAMETER, parameter);
	set_word(vmm, ONE_SHOT, one_shot);
	CHECK(vmm_start(vmm, &error) == 0);
	until_counter_passes(vmm, 100);
	return vmm;
}

/*
 * A timer of 3 s and a clone made 4 s later, with what is left of them: the guest knows of nothing. How fast the host
 * is does not matter: what the guest may have seen pass is what passed outside of those 4 s, and a tick may be as
 * late as the longest gap (GAP) that the guest's loop met.
 */
static void check_timer(bool one_shot)
{
	double hz = tsc_hz(), began = host_seconds(), slept = 4, saved_clock, passed, tsc_passed, cloned, due, gap, awake;
	struct vmm_config config;
	struct vmm *vmm = start_timer(&config, one_shot ? 3000000000 : (uint64_t)(3 * hz), one_shot);
	struct snapshot snapshot = save(vmm);
	uint64_t saved_tsc, turns, fired;
	bool ticked;

	CHECK(vmm_pause(vmm, &error) == 0);
	saved_tsc = word(vmm, TSC);
	turns = word(vmm, TURNS);
	vmm_resume(vmm);
	saved_clock = kvmclock(vmm);
	vmm_destroy(vmm);
	nanosleep(&(struct timespec){ .tv_sec = (time_t)slept }, NULL);
	cloned = host_seconds();
	vmm = start_clone(config, snapshot);
	until_counter_passes(vmm, turns + 100);
	passed = kvmclock(vmm) - saved_clock;
	tsc_passed = (double)(word(vmm, TSC) - saved_tsc) / hz;
	ticked = word(vmm, TICKS) != 0;
	awake = host_seconds() - began - slept;
	CHECK(passed >= -0.1 && passed < awake + 0.5 && tsc_passed < awake + 0.5);
	CHECK(!ticked || awake >= 3);
	CHECK(becomes(vmm, TICKS, 1));
	due = host_seconds() - cloned;
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	awake = host_seconds() - began - slept;
	gap = (double)word(vmm, GAP) / hz;
	fired = word(vmm, FIRED_AT);
	CHECK(due < 5 + gap); /* what was left of 3 s, and not of the host's 7 */
	CHECK(one_shot || (fired >= word(vmm, DUE_AT) && (double)(fired - word(vmm, DUE_AT)) < (0.5 + gap) * hz));
	CHECK(word(vmm, TICKS) == 1 && word(vmm, BACKWARDS) == 0 && gap < awake + 0.5);
	vmm_destroy(vmm);
	forget(snapshot);
}

TEST(a_deadline_fires_once_in_a_clone_when_the_guest_has_waited_for_it)
{
	check_timer(false);
}

TEST(a_one_shot_timer_fires_once_in_a_clone_after_what_was_left)
{
	check_timer(true);
}

/* What CPU id wrote down, against what pattern_guest put into its registers. */
static void check_report(struct vmm *vmm, uint32_t id)
{
	static const uint64_t patterns[] = { 0x0808080808080800, 0x0909090909090900, 0x1010101010101000, 0x1111111111111100,
					     0x1212121212121200, 0x1313131313131300, 0x1414141414141400 };
	static const uint8_t pi[10] = { 0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x00, 0x40 };
	uint64_t report[4096 / 8];
	const uint64_t *xmm0 = &report[0xa0 / 8], *registers = &report[0x200 / 8]; /* FXSAVE: Intel SDM 1, 10.5.1 */

	CHECK(vmm_read(vmm, REPORTS + id * 4096, report, sizeof(report), &error) == 0);
	for (uint32_t i = 0; i < 7; i++)
		CHECK(registers[i] == patterns[i] + id);
	CHECK(registers[7] == (patterns[4] & 0x7fffffffffff) + id && registers[8] == registers[7]); /* canonical */
	CHECK(xmm0[0] == patterns[0] + id && xmm0[2] == patterns[1] + id && xmm0[3] == patterns[0] + id);
	CHECK(xmm0[30] == patterns[6] + id && memcmp((uint8_t *)report + 0x20, pi, sizeof(pi)) == 0);
}

TEST(every_cpu_of_a_clone_has_its_registers_and_one_that_sleeps_wakes)
{
	struct vmm_config config = config_of(pattern_guest, (size_t)(pattern_guest_end - pattern_guest));
	struct snapshot snapshot;
	struct vmm *vmm;

	config.cores = PATTERN_CPUS;
	vmm = start(&config);
	CHECK(becomes(vmm, TURNS, PATTERN_CPUS));
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL); /* CPU 1 gets from counting to sleeping */
	snapshot = save(vmm);
	vmm_destroy(vmm);
	vmm = start_clone(config, snapshot);
	set_word(vmm, GO, 1);
	CHECK(becomes(vmm, DONE, PATTERN_CPUS));
	for (uint32_t id = 0; id < PATTERN_CPUS; id++)
		check_report(vmm, id);
	vmm_destroy(vmm);
	forget(snapshot);
}

static void *contents(int fd, size_t *bytes)
{
	struct stat status;
	void *copy;

	CHECK(fstat(fd, &status) == 0);
	*bytes = (size_t)status.st_size;
	copy = malloc(*bytes);
	CHECK(copy && pread(fd, copy, *bytes, 0) == (ssize_t)*bytes);
	return copy;
}

TEST(clones_and_their_template_go_on_apart_and_leave_the_files_alone)
{
	struct vmm_config config = CONFIG(COUNT), own;
	struct vmm *vmm = start(&config), *a, *b;
	struct snapshot snapshot;
	struct stat status;
	void *memory, *after;
	uint64_t saved;
	size_t bytes;

	until_counter_passes(vmm, 0);
	snapshot = save(vmm);
	CHECK(fstat(snapshot.memory, &status) == 0 && status.st_size == 64 << 20 && status.st_blocks * 512 < 4 << 20);
	CHECK(pread(snapshot.memory, &saved, sizeof(saved), COUNTER) == sizeof(saved) && saved);
	memory = contents(snapshot.memory, &bytes);
	until_counter_passes(vmm, saved); /* the template goes on */
	own = clone_config(config, snapshot);
	own.flags = VMM_POPULATE;
	a = start_clone(config, snapshot);
	b = start(&own);
	until_counter_passes(a, saved);
	until_counter_passes(b, saved);
	set_word(a, PARAMETER, 1);
	set_word(b, PARAMETER, 2);
	CHECK(word(a, PARAMETER) == 1 && word(b, PARAMETER) == 2 && word(vmm, PARAMETER) == 0);
	vmm_destroy(vmm);
	until_counter_passes(a, counter(a));
	vmm_destroy(a);
	until_counter_passes(b, counter(b));
	vmm_destroy(b);
	after = contents(snapshot.memory, &bytes);
	CHECK(memcmp(memory, after, bytes) == 0);
	free(memory);
	free(after);
	forget(snapshot);
}

TEST(a_clone_can_be_saved_as_well)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config);
	struct snapshot first, second;
	uint64_t saved;

	until_counter_passes(vmm, 0);
	first = save(vmm);
	vmm_destroy(vmm);
	vmm = start_clone(config, first);
	until_counter_passes(vmm, 1000);
	second = save(vmm);
	saved = counter(vmm);
	vmm_destroy(vmm);
	forget(first);
	vmm = start_clone(config, second);
	until_counter_passes(vmm, saved);
	vmm_destroy(vmm);
	forget(second);
}

TEST(twenty_clones_leave_nothing_behind)
{
	struct vmm_config config = CONFIG(COUNT), clone;
	struct vmm *vmm = start(&config);
	struct snapshot snapshot;
	uint32_t fds = 0, maps = 0, threads = 0;
	uint64_t saved;

	until_counter_passes(vmm, 0);
	snapshot = save(vmm);
	CHECK(pread(snapshot.memory, &saved, sizeof(saved), COUNTER) == sizeof(saved));
	vmm_destroy(vmm);
	clone = clone_config(config, snapshot);
	for (int i = 0; i < 22; i++) {
		vmm = start(&clone);
		until_counter_passes(vmm, saved);
		vmm_destroy(vmm);
		if (i == 1) { /* thread stacks stay cached */
			threads_become(1);
			threads = entries("/proc/self/task");
			fds = entries("/proc/self/fd");
			maps = mappings();
		}
	}
	CHECK(entries("/proc/self/fd") == fds && threads_become(threads));
	CHECK(UNDER_TSAN || mappings() <= maps + 2);
	forget(snapshot);
}

/* A copy of the state with one bit changed, or only its first bytes. */
static void check_damaged(struct vmm_config config, const uint8_t *state, size_t bytes, size_t bit)
{
	uint8_t *copy = malloc(bytes + 1);
	int fd = output_file();

	memcpy(copy, state, bytes);
	if (bit < bytes * 8)
		copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
	CHECK(write(fd, copy, bytes) == (ssize_t)bytes);
	config.snapshot_state_fd = fd;
	refused(&config, EINVAL, "a snapshot");
	close(fd);
	free(copy);
}

/* As for a program whose standard input was closed. */
TEST(a_snapshot_may_be_descriptor_0)
{
	struct vmm_config config = CONFIG(COUNT), clone;
	struct vmm *vmm = start(&config);
	struct snapshot snapshot;
	uint64_t saved;

	until_counter_passes(vmm, 0);
	snapshot = save(vmm);
	vmm_destroy(vmm);
	CHECK(pread(snapshot.memory, &saved, sizeof(saved), COUNTER) == sizeof(saved) && saved);
	clone = clone_config(config, snapshot);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK(dup2(i == 2 ? snapshot.state : snapshot.memory, 0) == 0);
		clone.snapshot_memory_fd = i == 2 ? snapshot.memory : 0;
		clone.snapshot_state_fd = i == 2 ? 0 : snapshot.state;
		clone.flags = i == 1 ? VMM_POPULATE : 0;
		vmm = create(&clone);
		CHECK(counter(vmm) == saved);
		CHECK(vmm_start(vmm, &error) == 0);
		until_counter_passes(vmm, saved);
		vmm_destroy(vmm);
	}
	forget(snapshot);
}

TEST(half_a_snapshot_is_none)
{
	struct vmm_config config = CONFIG(HALT), half = config;

	half.snapshot_memory_fd = output_file();
	refused(&half, EINVAL, "state fd -1");
	half.snapshot_state_fd = half.snapshot_memory_fd;
	refused(&half, EINVAL, "is memory and state");
	half.snapshot_memory_fd = -1;
	refused(&half, EINVAL, "memory is fd -1");
	half = (struct vmm_config){ .nodes = 1, .llcs = 1, .cores = 1, .threads = 1, .memory_bytes = 64 << 20 };
	refused(&half, EINVAL, "fd 0 is memory and state");
	half.snapshot_memory_fd = half.snapshot_state_fd = -1;
	refused(&half, EINVAL, "needs a kernel");
	vmm_destroy(create(&config));
}

TEST(what_is_no_state_of_this_machine_is_refused)
{
	struct vmm_config config = CONFIG(HALT), clone, other;
	struct vmm *vmm = start(&config);
	struct snapshot snapshot = save(vmm);
	uint8_t *state;
	size_t bytes;

	vmm_destroy(vmm);
	state = contents(snapshot.state, &bytes);
	clone = clone_config(config, snapshot);
	for (size_t bit = 0; bit < 64 * 8; bit += 3) /* the header */
		check_damaged(clone, state, bytes, bit);
	for (size_t bit = 0; bit < bytes * 8; bit += 60013)
		check_damaged(clone, state, bytes, bit);
	for (size_t length = 0; length < bytes; length += length < 72 ? 1 : 2003)
		check_damaged(clone, state, length, SIZE_MAX);
	check_damaged(clone, state, bytes - 1, SIZE_MAX);
	CHECK(ftruncate(snapshot.state, (off_t)bytes + 1) == 0);
	refused(&clone, EINVAL, "a snapshot's state");
	CHECK(ftruncate(snapshot.state, (off_t)bytes) == 0);
	other = clone;
	other.cores = 1;
	refused(&other, EINVAL, "a snapshot");
	other = clone;
	other.cores = 1;
	other.threads = 2;
	refused(&other, EINVAL, "a snapshot's state");
	other = clone;
	other.flags = VMM_REALTIME_HINT;
	refused(&other, EINVAL, "a snapshot's state");
	other = clone;
	other.memory_bytes *= 2;
	refused(&other, EINVAL, "a snapshot's memory");
	other.flags = VMM_POPULATE;
	refused(&other, EINVAL, "a snapshot's memory");
	vmm_destroy(create(&clone));
	free(state);
	forget(snapshot);
}

TEST(what_cannot_be_written_is_an_error_and_the_machine_goes_on)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	until_counter_passes(vmm, 0);
	CHECK(vmm_snapshot(vmm, null, null, &error) == -EBADF && strstr(error.text, "writing a snapshot"));
	until_counter_passes(vmm, counter(vmm));
	vmm_stop(vmm);
	CHECK(vmm_wait(vmm, TIMEOUT_MS, &(struct vmm_exit){ 0 }) == 1);
	CHECK(vmm_snapshot(vmm, null, null, &error) == -ESRCH);
	vmm_destroy(vmm);
	close(null);
}
