// SPDX-License-Identifier: GPL-2.0-only
/* Linux's virtio_console, as far as the device can tell: for tests of the port it opens. */
#ifndef KTSTR_VMM_PORT_H
#define KTSTR_VMM_PORT_H

#include "vmm_driver.h"

#define SIZE 16U
#define NEXT 1
#define WRITE 2

enum { RX, TX, CONTROL_RX, CONTROL_TX };

/* RAM for the buffers of a queue, a page each four descriptors */
static inline uint64_t buffer(uint32_t queue, uint32_t index)
{
	return BUFFERS + queue * 0x8000ULL + index * 0x400ULL;
}

/* Offer a buffer to be written into; gives whether the doorbell was rung. */
static inline bool offer_room(struct machine *machine, uint32_t queue, uint16_t index, uint32_t len)
{
	set_desc(machine, queue, index, buffer(queue, index), len, WRITE, 0);
	return offer(machine, queue, index, SIZE);
}

static inline void send(struct machine *machine, uint32_t queue, const void *data, uint32_t len)
{
	uint32_t id, used;

	memcpy(ram(machine, buffer(queue, 1)), data, len);
	set_desc(machine, queue, 1, buffer(queue, 1), len, 0, 0);
	CHECK(offer(machine, queue, 1, SIZE));
	CHECK(take_used(machine, queue, SIZE, &id, &used) && id == 1 && used == 0);
}

static inline void control(struct machine *machine, uint32_t port, uint16_t event, uint16_t value)
{
	uint8_t message[8];

	memcpy(message, &port, 4);
	memcpy(message + 4, &event, 2);
	memcpy(message + 6, &value, 2);
	send(machine, CONTROL_TX, message, 8);
}

static inline void check_control(struct machine *machine, uint16_t event, const char *text)
{
	uint8_t expected[64] = { 0 };
	uint32_t id, len;

	memcpy(expected + 4, &event, 2);
	expected[6] = 1;
	memcpy(expected + 8, text, strlen(text));
	CHECK(take_used(machine, CONTROL_RX, SIZE, &id, &len) && len == 8 + strlen(text));
	CHECK(memcmp(ram(machine, buffer(CONTROL_RX, id)), expected, len) == 0);
}

/* All that virtcons_probe() and its control handler do, up to an agent that has opened the port. */
static inline void open_port(struct machine *machine)
{
	uint32_t id, len;

	driver_start(machine, DRIVER_FEATURES, SIZE);
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 15);
	for (uint16_t i = 0; i < SIZE; i++)
		CHECK(!offer_room(machine, CONTROL_RX, i, 256)); /* no exits to fill it */
	control(machine, 0xffffffff, 0, 1); /* DEVICE_READY */
	check_control(machine, 1, ""); /* PORT_ADD */
	CHECK(!take_used(machine, CONTROL_RX, SIZE, &id, &len));
	for (uint16_t i = 0; i < SIZE; i++)
		CHECK(!offer_room(machine, RX, i, 256));
	control(machine, 0, 3, 1); /* PORT_READY */
	check_control(machine, 7, "ktstr.0"); /* PORT_NAME */
	check_control(machine, 6, ""); /* PORT_OPEN */
	control(machine, 0, 6, 1);
	CHECK(!take_used(machine, CONTROL_RX, SIZE, &id, &len));
}

static inline struct machine *machine_with_port(int fd)
{
	struct machine *machine = machine_create(fd);

	open_port(machine);
	return machine;
}

#endif
