/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the probe guest knows of its processor and devices: ports, registers and single instructions.
 * Numbers are of the Intel SDM, volume 3 (system structures, APIC, MSRs) unless noted.
 */
#ifndef KTSTR_PROBE_CPU_H
#define KTSTR_PROBE_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define SERIAL 0x3f8
#define SERIAL_STATUS (SERIAL + 5)
#define SERIAL_READY 0x20 /* transmitter holding register empty */
#define POWER_CONTROL 0x604 /* our ACPI's PM1a_CNT */
#define POWER_OFF 0x3400 /* SLP_EN, SLP_TYP 5 */
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET 0xfe
#define PIC_MASK_1 0x21
#define PIC_MASK_2 0xa1

#define CPUID_APIC 0x200U /* leaf 1, EDX */
#define CPUID_CX16 0x2000U /* leaf 1, ECX */
#define MSR_APIC_BASE 0x1b
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_FMASK 0xc0000084
#define MSR_KERNEL_GS_BASE 0xc0000102
#define EFER_SCE 1UL
#define APIC_BASE_X2APIC 0x400UL
#define APIC_BASE_ADDRESS 0xfffff000UL

#define APIC_EOI 0x0b0
#define APIC_SPURIOUS 0x0f0
#define APIC_ICR 0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_MASKED 0x10000
#define APIC_TIMER_COUNT 0x380
#define APIC_TIMER_NOW 0x390
#define APIC_TICK_NS 2U /* KVM's bus runs at 1 GHz (APIC_BUS_CYCLE_NS), and a timer that was not set divides by 2 */
#define ICR_SELF 0x40000
#define ICR_INIT 0x4500
#define ICR_STARTUP 0x4600
#define IO_APIC 0xfec00000UL
#define UNCLAIMED 0xfe000000UL /* no device is there; the VMM answers ones */

#define INTERRUPT_GATE 0xee0000000000UL /* which user mode may use */
#define BREAKPOINT 3
#define INVALID_OPCODE 6
#define PAGE_FAULT 14
#define INTERRUPT 0x40

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

struct cpuid {
	uint32_t a, b, c, d;
};

static inline struct cpuid cpuid(uint32_t leaf)
{
	struct cpuid r = { .a = leaf };

	__asm__ volatile("cpuid" : "+a"(r.a), "=b"(r.b), "+c"(r.c), "=d"(r.d));
	return r;
}

static inline uint64_t *top_page_table(void)
{
	uint64_t cr3;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	return (uint64_t *)(cr3 & ~0xfffUL);
}

static inline void flush_pages(void)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(top_page_table()) : "memory");
}

static inline volatile uint32_t *apic_register(uint32_t at)
{
	return (volatile uint32_t *)((rdmsr(MSR_APIC_BASE) & APIC_BASE_ADDRESS) + at);
}

#endif
