// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine that is saved while it sleeps, with nothing but a deadline of its TSC to wake it, and clones of it. The guest
 * below is copied into a kernel file and runs at CODE_AT in 64-bit mode, with the GDT (code 0x10) and the identity map of
 * the boot.
 */
#include "vmm_clone.h"

/* Words of guest memory that both sides know, from COUNTER on. */
enum { TICKS, FIRED_AT, DUE_AT, PERIOD, WORDS };

#define PERIOD_S 2.0
#define ASLEEP_S 1.5 /* of a period, when the machine is saved */
#define LATE_S 0.2 /* on a host that has time */
#define CLONES 4

/* Sleeps until its deadline (vector 0x40), which says when it came and arms the next. */
__asm__(".pushsection .rodata\n"
	"sleeper: mov $0x1108000, %esp; lea tick(%rip), %rax; mov $0x1200400, %edi\n"
	"mov %ax, (%rdi); movw $0x10, 2(%rdi); movw $0x8e00, 4(%rdi); shr $16, %rax; mov %ax, 6(%rdi); movl $0, 8(%rdi)\n"
	"movw $0xfff, 0x11ff000; movq $0x1200000, 0x11ff002; lidt 0x11ff000\n"
	"mov $0x1b, %ecx; rdmsr; or $0x400, %eax; wrmsr; xor %edx, %edx\n" /* x2APIC */
	"mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
	"mov $0x832, %ecx; mov $0x40040, %eax; wrmsr; mfence; call arm\n" /* deadline mode */
	"1: sti; hlt; jmp 1b\n"
	"tick: mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; call now; mov %rax, 0x1100008\n"
	"call arm; incq 0x1100000; iretq\n"
	"arm: call now; add 0x1100018, %rax; mov %rax, 0x1100010\n"
	"mov %rax, %rdx; shr $32, %rdx; mov $0x6e0, %ecx; wrmsr; ret\n"
	"now: rdtsc; shl $32, %rdx; or %rdx, %rax; ret\n"
	"sleeper_end:\n"
	".popsection");

extern const char sleeper[], sleeper_end[];

static uint64_t word(struct vmm *vmm, uint32_t index)
{
	uint64_t value;

	CHECK(vmm_read(vmm, COUNTER + index * 8, &value, sizeof(value), &error) == 0);
	return value;
}

static struct vmm *start_sleeper(struct vmm_config *config, double hz)
{
	uint64_t period = (uint64_t)(PERIOD_S * hz);
	struct vmm *vmm;

	*config = config_of(sleeper, (size_t)(sleeper_end - sleeper));
	config->cores = 1;
	vmm = create(config);
	CHECK(vmm_write(vmm, COUNTER + PERIOD * 8, &period, sizeof(period), &error) == 0);
	CHECK(vmm_start(vmm, &error) == 0);
	return vmm;
}

/* Of a sleeper that has been up for two periods and asleep for most of a third. */
static struct snapshot save_sleeping(struct vmm *vmm)
{
	uint64_t ticks, saved;

	until_counter_passes(vmm, 1);
	do {
		struct snapshot made;

		ticks = counter(vmm);
		until_counter_passes(vmm, ticks++);
		nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 500000000 }, NULL);
		made = save(vmm);
		CHECK(pread(made.memory, &saved, sizeof(saved), COUNTER) == sizeof(saved));
		if (saved == ticks)
			return made;
		forget(made); /* the host had other work, and the next tick came */
	} while (true);
}

/* Seconds from a clone's start to its next tick. */
static double first_tick(struct vmm_config config, struct snapshot snapshot)
{
	struct vmm *vmm;
	double began;
	uint64_t ticks;

	config = clone_config(config, snapshot);
	vmm = create(&config);
	ticks = word(vmm, TICKS);
	began = host_seconds();
	CHECK(vmm_start(vmm, &error) == 0);
	until_counter_passes(vmm, ticks);
	began = host_seconds() - began;
	vmm_destroy(vmm);
	return began;
}

/* Of some clones, on a host that has other work, one is in time. Were the deadline itself wrong, none would be. */
TEST(a_clone_that_sleeps_wakes_at_its_deadline)
{
	double hz = tsc_hz(), least = 1e9;
	struct vmm_config config;
	struct vmm *vmm = start_sleeper(&config, hz);
	struct snapshot snapshot = save_sleeping(vmm);

	vmm_destroy(vmm);
	for (int i = 0; i < CLONES; i++) {
		double took = first_tick(config, snapshot);

		fprintf(stderr, "clone %d: %.3f s to its tick\n", i, took);
		least = took < least ? took : least;
	}
	CHECK(least < PERIOD_S - ASLEEP_S + LATE_S);
	forget(snapshot);
}
