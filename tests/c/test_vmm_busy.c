// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots of machines that are anything but idle: timers armed, interrupts on their way, registers in use, output half
 * written. The guest below is copied into a kernel file and runs at CODE_AT in 64-bit mode, with the GDT (code 0x10) and
 * the identity map of the boot.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "vmm_clone.h"

#define CPUS 4
#define ROUNDS 8
#define PAGES 0x1140000ULL /* one for each CPU */

/* Words of a CPU's page. */
enum { TURNS, TICKS, HOPS, WRONG, WORDS };

/*
 * Each CPU arms its next deadline in its timer's handler (vector 0x40), and hands a token on to the next CPU in that of
 * the token (0x42): one interrupt that is lost stops either for ever. Meanwhile it counts turns in r12, in xmm2 and on
 * the FPU's stack, which have to agree. CPU 1 sleeps after every turn.
 */
__asm__(".pushsection .rodata\n"
	"busy_guest: lea trampoline(%rip), %rsi; mov $0x8000, %edi; mov $128, %ecx; rep movsb\n"
	"mov $0x1108000, %esp; lea tick(%rip), %rax; mov $0x1200400, %edi; call set_gate\n"
	"lea token(%rip), %rax; mov $0x1200420, %edi; call set_gate\n"
	"movw $0xfff, 0x11ff000; movq $0x1200000, 0x11ff002\n"
	"mov $0x1b, %ecx; rdmsr; or $0x400, %eax; wrmsr; xor %edx, %edx\n"
	"mov $0x830, %ecx; mov $0xc4500, %eax; wrmsr; mov $0xc4608, %eax; wrmsr\n" /* INIT, SIPI 0x8000 */
	"busy_cpu: lidt 0x11ff000; mov $0x80000013, %eax; mov %rax, %cr0; mov $0x620, %eax; mov %rax, %cr4\n"
	"mov $0x1b, %ecx; rdmsr; or $0x400, %eax; wrmsr; xor %edx, %edx\n" /* x2APIC */
	"mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr; mov $0x802, %ecx; rdmsr; mov %eax, %r15d\n"
	"lea 1(%r15), %rsp; shl $12, %rsp; add $0x1180000, %rsp; mov %r15, %r14; shl $12, %r14; add $0x1140000, %r14\n"
	"mov $0x832, %ecx; xor %edx, %edx; mov $0x40040, %eax; wrmsr; mfence\n" /* deadline mode */
	"xor %r12, %r12; mov $1, %eax; movq %rax, %xmm3; pxor %xmm2, %xmm2; fninit; fld1; fldz\n"
	"lock incq 0x1100000; test %r15d, %r15d; jnz 2f\n"
	"1: pause; cmpq $4, 0x1100000; jne 1b; mov $0x830, %ecx; mov $1, %edx; mov $0x4042, %eax; wrmsr\n"
	"2: rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, 32(%r14); call arm; sti\n"
	"3: inc %r12; paddq %xmm3, %xmm2; fadd %st(1), %st; movq %xmm2, %rax; cmp %rax, %r12; jne 4f\n"
	"fld %st(0); fistpll 48(%r14); cmp 48(%r14), %r12; jne 4f\n"
	"mov %r12, (%r14); cmp $1, %r15d; jne 3b; hlt; jmp 3b\n"
	"4: incq 24(%r14); jmp 3b\n"
	"tick: push %rax; push %rcx; push %rdx; incq 8(%r14); rdtsc; shl $32, %rdx; or %rdx, %rax\n"
	"cmp 32(%r14), %rax; jae 5f; incq 24(%r14); 5: mov %rax, 32(%r14); call arm\n"
	"mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; pop %rdx; pop %rcx; pop %rax; iretq\n"
	"token: push %rax; push %rcx; push %rdx; incq 16(%r14); mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr\n"
	"lea 1(%r15), %edx; and $3, %edx; mov $0x830, %ecx; mov $0x4042, %eax; wrmsr\n"
	"pop %rdx; pop %rcx; pop %rax; iretq\n"
	/* The deadline in the CPU's page, moved on by 20 million cycles. */
	"arm: mov 32(%r14), %rax; add $20000000, %rax; mov %rax, 32(%r14)\n"
	"mov %rax, %rdx; shr $32, %rdx; mov $0x6e0, %ecx; wrmsr; ret\n"
	/* rax: handler, edi: place in the IDT */
	"set_gate: mov %ax, (%rdi); movw $0x10, 2(%rdi); movw $0x8e00, 4(%rdi); shr $16, %rax\n"
	"mov %ax, 6(%rdi); movl $0, 8(%rdi); ret\n"
	".code16\n"
	"trampoline: cli; xor %ax, %ax; mov %ax, %ds; lgdtl 0x8000 + trampoline_gdt - trampoline\n"
	"mov $0x20, %eax; mov %eax, %cr4; mov $0x9000, %eax; mov %eax, %cr3\n"
	"mov $0xc0000080, %ecx; xor %edx, %edx; mov $0x100, %eax; wrmsr\n"
	"mov $0x80000011, %eax; mov %eax, %cr0; ljmpl $0x10, $0x1000000 + busy_cpu - busy_guest\n"
	"trampoline_gdt: .word 0x27; .long 0x500\n"
	".code64\n"
	"busy_guest_end:\n"
	".popsection");

extern const char busy_guest[], busy_guest_end[];

struct counts {
	uint64_t of[CPUS][WORDS];
};

static struct counts counts_of(struct vmm *vmm)
{
	struct counts found;

	for (uint32_t i = 0; i < CPUS; i++)
		CHECK(vmm_read(vmm, PAGES + i * 4096, found.of[i], sizeof(found.of[i]), &error) == 0);
	return found;
}

static struct counts saved_counts(int memory)
{
	struct counts found;

	for (uint32_t i = 0; i < CPUS; i++)
		CHECK(pread(memory, found.of[i], sizeof(found.of[i]), (off_t)(PAGES + i * 4096)) == sizeof(found.of[i]));
	return found;
}

static bool all_beyond(const struct counts *now, const struct counts *before, uint64_t by)
{
	for (uint32_t i = 0; i < CPUS; i++)
		for (uint32_t word = TURNS; word < WRONG; word++)
			if (now->of[i][word] < before->of[i][word] + by)
				return false;
	return true;
}

/* Every CPU takes turns, gets its timer and hands the token on, some more times, and nothing is wrong. */
static void check_goes_on(struct vmm *vmm, const struct counts *before)
{
	struct counts now = counts_of(vmm);

	for (int i = 0; i < 4000 && !all_beyond(&now, before, 3); i++) {
		nap();
		now = counts_of(vmm);
	}
	for (uint32_t i = 0; i < CPUS; i++) {
		if (!all_beyond(&now, before, 3) || now.of[i][WRONG])
			fprintf(stderr, "CPU %u: %llu turns, %llu ticks, %llu hops, %llu wrong\n", i,
				(unsigned long long)(now.of[i][TURNS] - before->of[i][TURNS]),
				(unsigned long long)(now.of[i][TICKS] - before->of[i][TICKS]),
				(unsigned long long)(now.of[i][HOPS] - before->of[i][HOPS]),
				(unsigned long long)now.of[i][WRONG]);
		CHECK(now.of[i][WRONG] == 0);
	}
	CHECK(all_beyond(&now, before, 3));
}

TEST(a_busy_machine_can_be_saved_at_any_moment)
{
	struct vmm_config config = config_of(busy_guest, (size_t)(busy_guest_end - busy_guest));
	struct counts none = { 0 }, saved;
	struct vmm *vmm, *clone;

	config.cores = CPUS;
	vmm = start(&config);
	check_goes_on(vmm, &none);
	for (int round = 0; round < ROUNDS; round++) {
		struct snapshot snapshot;

		nanosleep(&(struct timespec){ .tv_nsec = 1700000L * round }, NULL);
		snapshot = save(vmm);
		saved = saved_counts(snapshot.memory);
		clone = start_clone(config, snapshot);
		check_goes_on(clone, &saved);
		vmm_destroy(clone);
		forget(snapshot);
	}
	saved = counts_of(vmm);
	check_goes_on(vmm, &saved);
	vmm_destroy(vmm);
}

static size_t read_all(int fd, uint8_t *ret, size_t most)
{
	ssize_t n = pread(fd, ret, most, 0);

	CHECK(n >= 0 && (size_t)n < most);
	return (size_t)n;
}

/* Both files hold 0, 1, 2, ... from the first one's beginning to the other's end. */
static void check_follows(const int *files, size_t width)
{
	static uint8_t text[2][1 << 20];
	size_t bytes[2], at = 0;

	for (int i = 0; i < 2; i++) {
		bytes[i] = read_all(files[i], text[i], sizeof(text[i]));
		CHECK(bytes[i] % width == 0);
		for (size_t n = 0; n < bytes[i]; n += width, at++) {
			uint64_t found = 0;

			memcpy(&found, text[i] + n, width);
			if (found != (width == 1 ? (uint8_t)at : at))
				fprintf(stderr, "file %d, number %zu: found %llu\n", i, at, (unsigned long long)found);
			CHECK(found == (width == 1 ? (uint8_t)at : at));
		}
	}
	CHECK(bytes[0] && bytes[1]);
}

/* What a paused machine has said, and what a clone says, are one text without gap or repetition. */
TEST(a_clone_goes_on_with_the_next_word)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct vmm_config config = guest_config("number");
		int console[2] = { output_file(), output_file() }, channel[2] = { output_file(), output_file() };
		struct snapshot snapshot;
		struct vmm *vmm;

		config.console_fd = console[0];
		config.channel_fd = channel[0];
		vmm = start(&config);
		until_counter_passes(vmm, 10U + (uint32_t)round);
		CHECK(vmm_pause(vmm, &error) == 0);
		snapshot = save(vmm);
		config.console_fd = console[1];
		config.channel_fd = channel[1];
		vmm_stop(vmm); /* while it stands still: it says nothing more */
		vmm_destroy(vmm);
		vmm = start_clone(config, snapshot);
		until_counter_passes(vmm, counter(vmm) + 10);
		vmm_destroy(vmm);
		check_follows(channel, 8);
		check_follows(console, 1);
		forget(snapshot);
		for (int i = 0; i < 2; i++) {
			close(console[i]);
			close(channel[i]);
		}
	}
}

static void seal(int fd)
{
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
}

/* Two clones at once have the same descriptors, whose position is anything and stays what it is. */
TEST(a_snapshot_may_be_sealed_and_its_descriptors_stand_anywhere)
{
	struct vmm_config config = CONFIG(COUNT);
	struct vmm *vmm = start(&config), *a, *b;
	struct snapshot snapshot = { memfd_create("m", MFD_ALLOW_SEALING), memfd_create("s", MFD_ALLOW_SEALING) };
	uint64_t saved;

	until_counter_passes(vmm, 0);
	CHECK(vmm_snapshot(vmm, snapshot.memory, snapshot.state, &error) == 0);
	vmm_destroy(vmm);
	seal(snapshot.memory);
	seal(snapshot.state);
	CHECK(lseek(snapshot.memory, 12345, SEEK_SET) == 12345 && lseek(snapshot.state, 0, SEEK_END) > 0);
	CHECK(pread(snapshot.memory, &saved, sizeof(saved), COUNTER) == sizeof(saved) && saved);
	a = start_clone(config, snapshot);
	b = start_clone(config, snapshot);
	forget(snapshot); /* what they need of it they have read */
	until_counter_passes(a, saved);
	until_counter_passes(b, saved);
	vmm_destroy(a);
	vmm_destroy(b);
}
