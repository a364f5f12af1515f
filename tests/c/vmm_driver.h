// SPDX-License-Identifier: GPL-2.0-only
/*
 * The other side of the VMM's devices, for tests: a machine that records what devices ask of it, and
 * a driver that does with ports, BAR and rings what a guest's would, written from the specifications.
 */
#ifndef KTSTR_VMM_DRIVER_H
#define KTSTR_VMM_DRIVER_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "i8042.h"
#include "power.h"
#include "pci.h"
#include "serial.h"
#include "virtio_console.h"

#define CHECK(condition)                                                                  \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
			abort();                                                          \
		}                                                                         \
	} while (0)

#define RAM_BASE 0x100000ULL
#define RAM_BYTES 0x40000U
#define SLOTS 16
#define FIRST_SLOT 3
#define BAR 0xe0000000ULL
#define NOTIFY 0x2000
#define TABLE 0x1000
#define QUEUE_BYTES 0x1000ULL /* of RAM for each queue's rings, at RAM_BASE */
#define BUFFERS (RAM_BASE + 0x8000)

struct slot {
	int eventfd; /* -1 not connected */
	uint64_t address;
	uint32_t data;
	unsigned int connects;
};

struct machine {
	struct memory memory;
	struct wires wires;
	struct slot slots[SLOTS];
	uint64_t doorbell_at;
	int doorbell;
	unsigned int doorbells; /* times one was installed */
	void (*ready)(void *device);
	void *watched;
	int watched_fd;
	int irq4;
	int ended; /* -1 no, else the argument of request_end */
	int fail_connect; /* errno for the next connect_msi */
	struct sink out;
	struct pci pci;
	struct virtio_console console;
	struct serial serial;
	struct i8042 i8042;
	uint16_t next_avail[4]; /* the driver's side of the queues */
	uint16_t seen_used[4];
};

static inline int wire_line(void *m, uint32_t gsi, int eventfd, struct vmm_error *err)
{
	(void)err;
	CHECK(gsi == 4);
	((struct machine *)m)->irq4 = eventfd;
	return 0;
}

static inline int wire_connect(void *m, uint32_t slot, uint64_t address, uint32_t data, int eventfd, struct vmm_error *err)
{
	struct machine *machine = m;
	int code = machine->fail_connect;

	CHECK(slot < SLOTS && machine->slots[slot].eventfd == -1);
	machine->fail_connect = 0;
	if (code)
		return error_set(err, code, "no more routes");
	machine->slots[slot] = (struct slot){ eventfd, address, data, machine->slots[slot].connects + 1 };
	return 0;
}

static inline int wire_disconnect(void *m, uint32_t slot, int eventfd, struct vmm_error *err)
{
	struct machine *machine = m;

	(void)err;
	CHECK(slot < SLOTS && machine->slots[slot].eventfd == eventfd);
	machine->slots[slot].eventfd = -1;
	return 0;
}

static inline int wire_doorbell(void *m, uint64_t gpa, int eventfd, bool on, struct vmm_error *err)
{
	struct machine *machine = m;

	(void)err;
	CHECK(on ? machine->doorbell_at == 0 : machine->doorbell_at == gpa);
	CHECK(gpa >= 0xc0000000 && gpa < 0xfec00000);
	machine->doorbell_at = on ? gpa : 0;
	machine->doorbell = eventfd;
	machine->doorbells += on;
	return 0;
}

static inline int wire_watch(void *m, int fd, void (*ready)(void *), void *device, struct vmm_error *err)
{
	struct machine *machine = m;

	(void)err;
	machine->watched_fd = fd;
	machine->ready = ready;
	machine->watched = device;
	return 0;
}

static inline void wire_end(void *m, int reset)
{
	((struct machine *)m)->ended = reset;
}

/* out_fd takes what the guest sends; the machine is on the heap, so that ASan knows its bounds. */
static inline struct machine *machine_create(int out_fd)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct vmm_error err;
	struct virtio_place place;

	machine->memory = (struct memory){ .bytes = RAM_BYTES, .count = 1 };
	machine->memory.ranges[0] = (struct memory_range){ RAM_BASE, RAM_BYTES, 0, aligned_alloc(4096, RAM_BYTES) };
	memset(machine->memory.ranges[0].host, 0, RAM_BYTES);
	machine->wires = (struct wires){ machine,       wire_line,  wire_connect, wire_disconnect,
					 wire_doorbell, wire_watch, wire_end };
	for (int i = 0; i < SLOTS; i++)
		machine->slots[i].eventfd = -1;
	machine->ended = -1;
	sink_init(&machine->out, out_fd, 1 << 20);
	pci_init(&machine->pci, &machine->wires);
	i8042_init(&machine->i8042, &machine->wires);
	CHECK(serial_init(&machine->serial, &machine->wires, &machine->out, &err) == 0);
	place = (struct virtio_place){ &machine->pci, 1, BAR, FIRST_SLOT, &machine->memory, &machine->wires };
	CHECK(virtio_console_init(&machine->console, &place, &machine->out, &err) == 0);
	return machine;
}

static inline void machine_destroy(struct machine *machine)
{
	serial_deinit(&machine->serial);
	virtio_console_deinit(&machine->console);
	sink_deinit(&machine->out);
	free(machine->memory.ranges[0].host);
	free(machine);
}

/* What the supervisor's epoll would do. */
static inline void supervise(struct machine *machine)
{
	eventfd_t count;

	for (int turns = 0; turns < 100; turns++) {
		if (eventfd_read(machine->watched_fd, &count))
			return;
		eventfd_write(machine->watched_fd, count);
		machine->ready(machine->watched);
	}
}

/* How often a vector's message was sent since the last look. */
static inline uint64_t interrupts(struct machine *machine, uint32_t vector)
{
	eventfd_t count = 0;
	int fd = machine->slots[FIRST_SLOT + vector].eventfd;

	return fd < 0 || eventfd_read(fd, &count) ? 0 : count;
}

static inline uint32_t config_read(struct machine *machine, uint32_t device, uint32_t reg, uint32_t len)
{
	uint32_t address = 0x80000000U | device << 11 | (reg & 0xfc), value = 0;

	pci_port_ops.write(&machine->pci, 0, &address, 4);
	pci_port_ops.read(&machine->pci, 4 + reg % 4, &value, len);
	return value;
}

static inline void config_write(struct machine *machine, uint32_t device, uint32_t reg, uint32_t value, uint32_t len)
{
	uint32_t address = 0x80000000U | device << 11 | (reg & 0xfc);

	pci_port_ops.write(&machine->pci, 0, &address, 4);
	pci_port_ops.write(&machine->pci, 4 + reg % 4, &value, len);
}

static inline uint64_t mmio_read(struct machine *machine, uint64_t gpa, uint32_t len)
{
	uint64_t value = 0;

	pci_memory_ops.read(&machine->pci, gpa - PCI_MEMORY_BASE, &value, len);
	return value;
}

/* A doorbell takes writes before anybody else sees them. */
static inline void mmio_write(struct machine *machine, uint64_t gpa, uint64_t value, uint32_t len)
{
	if (machine->doorbell_at == gpa) {
		eventfd_write(machine->doorbell, 1);
		supervise(machine);
	} else {
		pci_memory_ops.write(&machine->pci, gpa - PCI_MEMORY_BASE, &value, len);
		supervise(machine);
	}
}

static inline void *ram(struct machine *machine, uint64_t gpa)
{
	CHECK(gpa >= RAM_BASE && gpa < RAM_BASE + RAM_BYTES);
	return machine->memory.ranges[0].host + (gpa - RAM_BASE);
}

static inline uint64_t queue_desc(uint32_t queue)
{
	return RAM_BASE + queue * QUEUE_BYTES;
}

static inline uint64_t queue_avail(uint32_t queue)
{
	return queue_desc(queue) + 0x400;
}

static inline uint64_t queue_used(uint32_t queue)
{
	return queue_desc(queue) + 0x600;
}

static inline void driver_negotiate(struct machine *machine, uint64_t features)
{
	config_write(machine, 1, 0x04, 6, 2);
	mmio_write(machine, BAR + 0x14, 0, 1);
	mmio_write(machine, BAR + 0x14, 1, 1);
	mmio_write(machine, BAR + 0x14, 3, 1);
	for (uint32_t half = 0; half < 2; half++) {
		mmio_write(machine, BAR + 0x08, half, 4);
		mmio_write(machine, BAR + 0x0c, (uint32_t)(features >> (32 * half)), 4);
	}
	mmio_write(machine, BAR + 0x14, 11, 1);
}

/* Enable MSI-X with one vector a queue (1 to 4) and 0 for the configuration, as Linux does. */
static inline void driver_vectors(struct machine *machine)
{
	uint32_t at = config_read(machine, 1, 0x34, 1);

	while (config_read(machine, 1, at, 1) != 0x11)
		at = config_read(machine, 1, at + 1, 1);
	config_write(machine, 1, at + 2, 0xc000, 2);
	for (uint32_t i = 0; i < 5; i++) {
		mmio_write(machine, BAR + TABLE + 16 * i, 0xfee01000, 4);
		mmio_write(machine, BAR + TABLE + 16 * i + 4, 0, 4);
		mmio_write(machine, BAR + TABLE + 16 * i + 8, 0x4030 + i, 4);
		mmio_write(machine, BAR + TABLE + 16 * i + 12, 0, 4);
	}
	config_write(machine, 1, at + 2, 0x8000, 2);
	mmio_write(machine, BAR + 0x10, 0, 2);
}

static inline void driver_queue(struct machine *machine, uint32_t queue, uint32_t size)
{
	memset(ram(machine, queue_desc(queue)), 0, QUEUE_BYTES);
	machine->next_avail[queue] = machine->seen_used[queue] = 0;
	mmio_write(machine, BAR + 0x16, queue, 2);
	mmio_write(machine, BAR + 0x18, size, 2);
	mmio_write(machine, BAR + 0x1a, queue + 1, 2);
	mmio_write(machine, BAR + 0x20, queue_desc(queue), 4);
	mmio_write(machine, BAR + 0x24, 0, 4);
	mmio_write(machine, BAR + 0x28, queue_avail(queue), 4);
	mmio_write(machine, BAR + 0x2c, 0, 4);
	mmio_write(machine, BAR + 0x30, queue_used(queue), 8);
	mmio_write(machine, BAR + 0x1c, 1, 2);
}

#define DRIVER_FEATURES (1ULL << 32 | 2)

static inline void driver_start(struct machine *machine, uint64_t features, uint32_t size)
{
	driver_negotiate(machine, features);
	driver_vectors(machine);
	for (uint32_t queue = 0; queue < 4; queue++)
		driver_queue(machine, queue, size);
	mmio_write(machine, BAR + 0x14, 15, 1);
}

static inline void set_desc(struct machine *machine, uint32_t queue, uint32_t index, uint64_t gpa, uint32_t len,
			    uint16_t flags, uint16_t next)
{
	uint8_t *desc = (uint8_t *)ram(machine, queue_desc(queue)) + 16 * index;

	memcpy(desc, &gpa, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, &flags, 2);
	memcpy(desc + 14, &next, 2);
}

/* Make the chain at head available; ring unless the device asked not to. */
static inline bool offer(struct machine *machine, uint32_t queue, uint16_t head, uint32_t size)
{
	uint16_t *avail = ram(machine, queue_avail(queue));
	const uint16_t *used = ram(machine, queue_used(queue));
	bool rings = !(used[0] & 1);

	avail[2 + machine->next_avail[queue]++ % size] = head;
	avail[1] = machine->next_avail[queue];
	if (rings)
		mmio_write(machine, BAR + NOTIFY, queue, 2);
	return rings;
}

/* The next used element: false when there is none. */
static inline bool take_used(struct machine *machine, uint32_t queue, uint32_t size, uint32_t *id, uint32_t *len)
{
	const uint8_t *used = ram(machine, queue_used(queue));
	uint16_t index;

	memcpy(&index, used + 2, 2);
	if (index == machine->seen_used[queue])
		return false;
	memcpy(id, used + 4 + 8 * (machine->seen_used[queue] % size), 4);
	memcpy(len, used + 8 + 8 * (machine->seen_used[queue] % size), 4);
	machine->seen_used[queue]++;
	return true;
}

#endif
