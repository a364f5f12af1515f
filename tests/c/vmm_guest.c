// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel of a few hundred bytes for tests of whole machines, built as an ELF file of its own: what
 * it does is the first letter of its command line. It has 4 KiB of stack and no interrupts.
 */
#include <stdint.h>

#define SERIAL 0x3f8
#define BAR 0xe0000000UL
#define QUEUE_SIZE 16
#define COMMAND_LINE_POINTER 0x228 /* in the zero page */

enum { RX, TX, CONTROL_RX, CONTROL_TX };

struct descriptor {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};

struct queue {
	struct descriptor desc[QUEUE_SIZE];
	uint16_t avail[4 + QUEUE_SIZE];
	_Alignas(4) uint16_t used_flags;
	uint16_t used_index;
	struct {
		uint32_t id, len;
	} used[QUEUE_SIZE];
	uint16_t seen;
};

static volatile _Alignas(4096) struct queue queues[4];
static volatile _Alignas(8) uint8_t buffers[4][256];

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void write8(uint64_t at, uint8_t value)
{
	*(volatile uint8_t *)at = value;
}

static inline void write16(uint64_t at, uint16_t value)
{
	*(volatile uint16_t *)at = value;
}

static inline void write32(uint64_t at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static void power_off(void)
{
	out16(0x604, 0x3400);
	for (;;)
		__asm__ volatile("hlt");
}

static uint8_t receive(void)
{
	while (!(in8(SERIAL + 5) & 1))
		__asm__ volatile("pause");
	return in8(SERIAL);
}

/* Everything typed comes back, until a newline did. */
static void echo_serial(void)
{
	uint8_t byte;

	do {
		byte = receive();
		out8(SERIAL, byte);
	} while (byte != '\n');
	power_off();
}

static void set_up_queue(uint16_t index)
{
	volatile struct queue *queue = &queues[index];
	uint64_t at[] = { (uint64_t)queue->desc, (uint64_t)queue->avail, (uint64_t)&queue->used_flags };

	write16(BAR + 0x16, index);
	write16(BAR + 0x18, QUEUE_SIZE);
	for (uint32_t i = 0; i < 3; i++) {
		write32(BAR + 0x20 + 8 * i, (uint32_t)at[i]);
		write32(BAR + 0x24 + 8 * i, (uint32_t)(at[i] >> 32));
	}
	write16(BAR + 0x1c, 1);
}

/* virtio 1.2, 3.1.1: with VERSION_1 and, if asked, MULTIPORT. */
static void start_port(uint32_t features)
{
	out32(0xcf8, 0x80000804); /* device 1: memory and bus master on */
	out16(0xcfc, 6);
	write8(BAR + 0x14, 0);
	write8(BAR + 0x14, 3);
	write32(BAR + 0x08, 0);
	write32(BAR + 0x0c, features);
	write32(BAR + 0x08, 1);
	write32(BAR + 0x0c, 1);
	write8(BAR + 0x14, 11);
	for (uint16_t i = 0; i < 4; i++)
		set_up_queue(i);
	write8(BAR + 0x14, 15);
}

/* Give a queue one buffer and wait for it to come back; gives the bytes written into it. */
static uint32_t exchange_at(uint16_t index, volatile uint8_t *buffer, uint32_t len, uint16_t flags)
{
	volatile struct queue *queue = &queues[index];

	queue->desc[0] = (struct descriptor){ (uint64_t)buffer, len, flags, 0 };
	queue->avail[2 + queue->avail[1] % QUEUE_SIZE] = 0;
	__asm__ volatile("" : : : "memory");
	queue->avail[1]++;
	write16(BAR + 0x2000, index);
	while (queue->used_index == queue->seen)
		__asm__ volatile("pause" : : : "memory");
	return queue->used[queue->seen++ % QUEUE_SIZE].len;
}

static uint32_t exchange(uint16_t index, uint32_t len, uint16_t flags)
{
	return exchange_at(index, buffers[index], len, flags);
}

/* Everything sent on the channel comes back on it, until a newline did. */
static void echo_port(void)
{
	uint32_t n;

	start_port(0);
	do {
		n = exchange(RX, sizeof(buffers[0]), 2);
		for (uint32_t i = 0; i < n; i++)
			buffers[TX][i] = buffers[RX][i];
		exchange(TX, n, 0);
	} while (buffers[TX][n - 1] != '\n');
	power_off();
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint32_t next_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)(random_state * 0x2545f4914f6cdd1d >> 32);
}

/* A write or read of a port: of a device's in most cases, and never one that ends the machine. */
static void poke_port(uint32_t value)
{
	static const uint16_t bases[] = { SERIAL, SERIAL, 0x600, 0xcf8, 0xcf8, 0x60, 0x40, 0x20, 0xa0 };
	uint16_t port = (uint16_t)(bases[value % 9] + (value >> 8) % 8);

	if (port == 0x64 || port == 0xcf9 || port / 8 == 0x600 / 8)
		in32(port);
	else if (value >> 31)
		out32(port, next_random());
	else
		out8(port, (uint8_t)next_random());
}

/* Queues that are started, then rings, registers, the BAR's place and ports that are anything. */
static void write_garbage(void)
{
	volatile uint32_t *words = (volatile uint32_t *)queues;

	for (uint32_t round = 0; round < 40; round++) {
		start_port(2);
		for (uint32_t i = 0; i < 50; i++) {
			uint32_t value = next_random();

			words[value % (sizeof(queues) / 4)] = next_random() >> (value >> 27);
			write16(BAR + 0x2000, (uint16_t)(value % 5));
			write32(BAR + (next_random() & 0x3ffc), next_random());
			poke_port(next_random());
			out32(0xcf8, 0x80000800 | (next_random() & 0xfc));
			out32(0xcfc, next_random());
			out32(0xcf8, 0x80000810); /* the BAR back to where it is looked for */
			out32(0xcfc, BAR);
		}
	}
	power_off();
}

static volatile uint64_t *const counter = (uint64_t *)0x1100000;

static void count(void)
{
	for (;;)
		++*counter;
}

/* There is no memory to run from. */
static void leave_ram(void)
{
	((void (*)(void))0xd0000000)();
}

/* On both ways out, without end; less on the one where each byte is an exit. */
static void flood(void)
{
	static volatile uint8_t text[16384];

	start_port(0);
	for (;;) {
		const volatile uint8_t *from = text;
		uint64_t bytes = 512;

		__asm__ volatile("rep outsb" : "+S"(from), "+c"(bytes) : "d"(SERIAL) : "memory");
		exchange_at(TX, text, sizeof(text), 0);
		++*counter;
	}
}

/* 0, 1, 2, ... on both ways out, without end: 8 bytes of the port's, one of the serial line's. */
static void number(void)
{
	volatile uint64_t *text = (volatile uint64_t *)buffers[TX];

	start_port(0);
	for (*text = 0;; ++*text) {
		out8(SERIAL, (uint8_t)*text);
		exchange(TX, sizeof(*text), 0);
		++*counter;
	}
}

static void act(char command)
{
	switch (command) {
	case 's':
		echo_serial();
		break;
	case 'p':
		echo_port();
		break;
	case 'g':
		write_garbage();
		break;
	case 'l':
		leave_ram();
		break;
	case 'f':
		flood();
		break;
	case 'n':
		number();
		break;
	case 'c':
		count();
		break;
	default:
		power_off();
	}
}

/* RSI has the zero page, as at any 64-bit entry of Linux. */
__asm__(".globl _start\n_start: mov %rsi, %rdi\n call guest_main\n");
void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	uint64_t at = *(const uint32_t *)(zero_page + COMMAND_LINE_POINTER);

	act(*(const char *)at);
}
