// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel of two kilobytes that does once what every stock kernel does: where it runs to its end,
 * KVM works. It writes the name of each step to the serial port before the step, so that the last
 * line is where a KVM that emulates guests, or is broken, stopped. It turns the machine off when all
 * went well and resets it when a step gave a wrong result.
 *
 * Entered as vmlinux is: 64-bit mode, flat segments, the first 4 GiB mapped one to one by large
 * pages, about 4 KiB of stack. The machine has two CPUs with xAPIC ids 0 and 1.
 */
#include "cpu.h"

/* SYSCALL and SYSRET want this order. */
enum { KERNEL_CODE = 0x08, KERNEL_DATA = 0x10, USER_DATA = 0x1b, USER_CODE = 0x23, TASK = 0x28 };

#define PAGE_USER 4UL
#define ALIAS (1UL << 39) /* the second entry of the top page table, empty at first */
#define AP_PAGE 0x10000UL /* what the second CPU starts with, in real mode */
#define AP_STARTED 0x100

#define LOOPS 10000U
#define ROUNDS 20
#define LOOP_NS 90U /* at most */
#define LOOPS_PER_NS 32U /* at most: the timer runs */

struct frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

struct __attribute__((packed)) table {
	uint16_t limit;
	uint64_t base;
};

static volatile uint32_t breakpoints, user_breakpoints, invalid_opcodes, page_faults, interrupts;
static uint8_t trap_stack[1024] __attribute__((aligned(16)));
uint8_t user_stack[256] __attribute__((aligned(16)));
static uint32_t task[26]; /* a 64-bit TSS: RSP0 is at byte 4 */
static uint64_t gates[INTERRUPT + 1][2];
static uint64_t segments[] = {
	[KERNEL_CODE / 8] = 0x00af9b000000ffff, [KERNEL_DATA / 8] = 0x00cf93000000ffff,
	[USER_DATA / 8] = 0x00cff3000000ffff, [USER_CODE / 8] = 0x00affb000000ffff, [TASK / 8 + 1] = 0,
};
/* What GS points at in the kernel: its stack, the user's, and how many system calls there were. */
uint64_t per_cpu[3];

void enter_user(void);
void system_call(void);
extern const uint8_t ap_begin[], ap_end[];

static void say(const char *text)
{
	do {
		while (!(in8(SERIAL_STATUS) & SERIAL_READY))
			;
		out8(SERIAL, (uint8_t)*text);
	} while (*text++ != '\n');
}

static void expect(bool right)
{
	while (!right)
		out8(KEYBOARD_COMMAND, KEYBOARD_RESET);
}

/* Handlers end with iretq. */
#define HANDLER static __attribute__((interrupt)) void

HANDLER on_breakpoint(volatile struct frame *frame)
{
	breakpoints++;
	user_breakpoints += frame->cs == USER_CODE;
}

HANDLER on_invalid_opcode(volatile struct frame *frame)
{
	invalid_opcodes++;
	frame->rip += 2; /* past ud2 */
}

/* The faulting write finds memory when it is tried again. */
HANDLER on_page_fault(volatile struct frame *frame, unsigned long error)
{
	uint64_t *table = top_page_table(), address;

	(void)frame;
	__asm__ volatile("mov %%cr2, %0" : "=r"(address));
	expect(address == ALIAS + (uint64_t)&page_faults && error == 2); /* a write to what is not present */
	table[1] = table[0];
}

HANDLER on_interrupt(volatile struct frame *frame)
{
	(void)frame;
	interrupts++;
	*apic_register(APIC_EOI) = 0;
}

static void set_gate(uint32_t vector, const void *handler)
{
	uint64_t at = (uint64_t)handler;

	gates[vector][0] = (at & 0xffff) | KERNEL_CODE << 16 | INTERRUPT_GATE | (at >> 16 & 0xffff) << 48;
	gates[vector][1] = at >> 32;
}

static void ask_the_cpu(void)
{
	say("cpuid\n");
	expect(cpuid(0).a >= 1 && cpuid(0).b != 0 && cpuid(1).d & CPUID_APIC);
}

/* How a stock kernel allocates memory (mm/slub.c), from its first kmalloc on. */
static void exchange_16_bytes(void)
{
	static volatile struct {
		uint64_t low, high;
	} pair __attribute__((aligned(16))) = { 1, 2 };
	uint64_t low = 1, high = 2;
	bool same;

	if (!(cpuid(1).c & CPUID_CX16))
		return; /* then kernels do without */
	say("cmpxchg16b\n");
	__asm__ volatile("lock cmpxchg16b %1; sete %0"
			 : "=q"(same), "+m"(pair), "+a"(low), "+d"(high)
			 : "b"(3UL), "c"(4UL));
	expect(same && pair.low == 3 && pair.high == 4);
}

static void use_registers(void)
{
	uint64_t value;

	say("model-specific registers\n");
	wrmsr(MSR_KERNEL_GS_BASE, (uint64_t)per_cpu);
	expect(rdmsr(MSR_KERNEL_GS_BASE) == (uint64_t)per_cpu);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	expect(rdmsr(MSR_EFER) & EFER_SCE);
	say("control registers\n");
	__asm__ volatile("mov %%cr4, %0; or $0x680, %0; mov %0, %%cr4" : "=&r"(value)); /* PGE, OSFXSR, OSXMMEXCPT */
	__asm__ volatile("mov %%cr0, %0; or $0x10022, %0; mov %0, %%cr0; clts" : "=&r"(value)); /* WP, NE, MP */
	flush_pages();
	__asm__ volatile("invlpg (%0)" : : "r"(ALIAS));
}

static void load_tables(void)
{
	uint64_t at = (uint64_t)task, stack = (uint64_t)(trap_stack + sizeof(trap_stack));
	struct table gdt = { sizeof(segments) - 1, (uint64_t)segments }, idt = { sizeof(gates) - 1, (uint64_t)gates };

	say("descriptor tables\n");
	task[1] = (uint32_t)stack;
	segments[TASK / 8] = 0x890000000067 | (at & 0xffffff) << 16 | (at >> 24 & 0xff) << 56;
	set_gate(BREAKPOINT, on_breakpoint);
	set_gate(INVALID_OPCODE, on_invalid_opcode);
	set_gate(PAGE_FAULT, on_page_fault);
	set_gate(INTERRUPT, on_interrupt);
	__asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdt), "m"(idt), "r"(TASK) : "memory");
	__asm__ volatile("push %0; push $1f; lretq; 1:" : : "i"(KERNEL_CODE) : "memory");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(KERNEL_DATA));
}

static void take_exceptions(void)
{
	say("exceptions\n");
	__asm__ volatile("int3; ud2; int3" : : : "memory");
	expect(breakpoints == 2 && invalid_opcodes == 1 && user_breakpoints == 0);
}

static void fault_on_a_page(void)
{
	say("page fault\n");
	*(volatile uint32_t *)(ALIAS + (uint64_t)&page_faults) = 7;
	expect(page_faults == 7);
}

static void use_floating_point(void)
{
	static uint8_t state[512] __attribute__((aligned(16)));
	uint64_t value = 0;

	say("floating point\n");
	__asm__ volatile("fninit; fxsave %0; fxrstor %0" : "+m"(state));
	__asm__ volatile("movq %1, %%xmm0; paddq %%xmm0, %%xmm0; movq %%xmm0, %0" : "=r"(value) : "r"(21UL));
	expect(value == 42);
}

static void use_devices(void)
{
	say("memory-mapped I/O\n");
	expect(!(rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC) && *apic_register(APIC_SPURIOUS) != 0);
	*(volatile uint32_t *)IO_APIC = 1; /* its version register */
	expect((*(volatile uint32_t *)(IO_APIC + 0x10) >> 16 & 0xff) == 23); /* the last of 24 lines */
	expect(*(volatile uint16_t *)UNCLAIMED == 0xffff);
}

static void take_interrupts(void)
{
	say("interrupt\n");
	out8(PIC_MASK_1, 0xff);
	out8(PIC_MASK_2, 0xff);
	*apic_register(APIC_SPURIOUS) = 0x1ff; /* on */
	*apic_register(APIC_ICR) = ICR_SELF | INTERRUPT;
	__asm__ volatile("sti");
	while (interrupts == 0)
		__asm__ volatile("pause");
	__asm__ volatile("cli");
	say("timer interrupt\n");
	*apic_register(APIC_LVT_TIMER) = INTERRUPT;
	*apic_register(APIC_TIMER_COUNT) = 100000;
	while (interrupts == 1)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* There and back by iretq, a trap, syscall and sysretq. */
static void run_user_mode(void)
{
	uint64_t *table = top_page_table(), at = (uint64_t)enter_user;

	say("user mode\n");
	for (uint32_t shift = 39; shift >= 21; shift -= 9) {
		uint64_t *entry = &table[at >> shift & 511];

		*entry |= PAGE_USER;
		table = (uint64_t *)(*entry & ~0xfffUL);
	}
	flush_pages();
	wrmsr(MSR_STAR, (uint64_t)KERNEL_DATA << 48 | (uint64_t)KERNEL_CODE << 32);
	wrmsr(MSR_LSTAR, (uint64_t)system_call);
	wrmsr(MSR_FMASK, 0x200); /* the interrupt flag */
	enter_user();
	expect(user_breakpoints == 2 && per_cpu[2] == 2);
}

static void start_second_cpu(void)
{
	volatile uint8_t *page = (volatile uint8_t *)AP_PAGE;

	say("second CPU\n");
	for (uint32_t i = 0; ap_begin + i < ap_end; i++)
		page[i] = ap_begin[i];
	*apic_register(APIC_ICR_HIGH) = 1U << 24;
	*apic_register(APIC_ICR) = ICR_INIT;
	*apic_register(APIC_ICR_HIGH) = 1U << 24;
	*apic_register(APIC_ICR) = ICR_STARTUP | AP_PAGE >> 12;
	while (!page[AP_STARTED])
		__asm__ volatile("pause");
}

/*
 * A CPU needs a nanosecond for each, one that is itself emulated some 10, and a KVM that interprets its guests
 * hundreds. The best of some short rounds counts: a busy host takes the CPU away in some of them, not in all.
 */
static void loop(void)
{
	uint32_t best = ~0U;

	say("loops at the CPU's speed\n");
	*apic_register(APIC_LVT_TIMER) = APIC_LVT_MASKED;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t n = LOOPS;
		uint32_t took;

		*apic_register(APIC_TIMER_COUNT) = ~0U;
		__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n));
		took = (~0U - *apic_register(APIC_TIMER_NOW)) * APIC_TICK_NS;
		best = took < best ? took : best;
	}
	expect(best <= LOOPS * LOOP_NS && best >= LOOPS / LOOPS_PER_NS);
}

void start(void)
{
	say("port I/O\n");
	ask_the_cpu();
	exchange_16_bytes();
	use_registers();
	load_tables();
	take_exceptions();
	fault_on_a_page();
	use_floating_point();
	use_devices();
	take_interrupts();
	run_user_mode();
	start_second_cpu();
	loop();
	say("power off\n");
	for (;;)
		out16(POWER_CONTROL, POWER_OFF);
}

/*
 * enter_user goes to user mode with USER_DATA, the end of its stack, no interrupts and USER_CODE; it
 * returns, with the registers that are its caller's, from the second system call. The first one goes
 * back to where it came from. The second CPU starts at ap_begin in real mode and sets AP_STARTED.
 */
__asm__(".text\n"
	".globl enter_user, system_call, ap_begin, ap_end\n"
	"enter_user:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, per_cpu(%rip)\n"
	"	push $0x1b; push $user_stack + 256; push $2; push $0x23\n"
	"	push $user\n"
	"	iretq\n"
	"user:\n"
	"	int3; syscall; int3; syscall; ud2\n"
	"system_call:\n"
	"	swapgs\n"
	"	mov %rsp, %gs:8\n"
	"	mov %gs:0, %rsp\n"
	"	incq %gs:16\n"
	"	cmpq $2, %gs:16\n"
	"	je 1f\n"
	"	mov %gs:8, %rsp\n"
	"	swapgs\n"
	"	sysretq\n"
	"1:	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".code16\n"
	"ap_begin:\n"
	"	movb $1, %cs:0x100\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"ap_end:\n"
	".code64\n");
