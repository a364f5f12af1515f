// SPDX-License-Identifier: GPL-2.0-only
/* Negotiation, rings, descriptors and vectors of a virtio device: as Linux uses them and never would. */
#include <errno.h>

#include "vmm_port.h"
#include "vmm_test.h"

TEST(negotiation_needs_version_1_and_nothing_unknown)
{
	struct machine *machine = machine_create(-1);

	driver_negotiate(machine, 2);
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 3);
	driver_negotiate(machine, DRIVER_FEATURES | 1ULL << 29);
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 3);
	mmio_write(machine, BAR + 0x14, 7, 1); /* DRIVER_OK all the same */
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 3);
	driver_negotiate(machine, DRIVER_FEATURES);
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 11);
	mmio_write(machine, BAR + 0x08, 0, 4);
	mmio_write(machine, BAR + 0x0c, 0, 4); /* too late */
	CHECK(mmio_read(machine, BAR + 0x0c, 4) == 2);
	mmio_write(machine, BAR, 1, 4);
	CHECK(mmio_read(machine, BAR + 4, 4) == 1); /* VERSION_1 */
	mmio_write(machine, BAR, 2, 4);
	CHECK(mmio_read(machine, BAR + 4, 4) == 0);
	machine_destroy(machine);
}

TEST(queue_registers_take_only_what_makes_sense)
{
	struct machine *machine = machine_create(-1);

	driver_negotiate(machine, DRIVER_FEATURES);
	mmio_write(machine, BAR + 0x16, 4, 2);
	CHECK(mmio_read(machine, BAR + 0x18, 2) == 0); /* no such queue */
	mmio_write(machine, BAR + 0x16, 1, 2);
	CHECK(mmio_read(machine, BAR + 0x18, 2) == 32 && mmio_read(machine, BAR + 0x1a, 2) == 0xffff);
	mmio_write(machine, BAR + 0x1a, 4, 2);
	CHECK(mmio_read(machine, BAR + 0x1a, 2) == 4);
	mmio_write(machine, BAR + 0x1a, 5, 2);
	CHECK(mmio_read(machine, BAR + 0x1a, 2) == 0xffff);
	driver_queue(machine, TX, SIZE);
	mmio_write(machine, BAR + 0x18, 2, 2); /* a resize of a running queue */
	mmio_write(machine, BAR + 0x20, 0, 8);
	CHECK(mmio_read(machine, BAR + 0x18, 2) == SIZE && mmio_read(machine, BAR + 0x20, 8) == queue_desc(TX));
	mmio_write(machine, BAR + 0x36, 0xffff, 2); /* parts of fields, across fields */
	mmio_write(machine, BAR + 0x15, 0xffffffff, 4);
	CHECK(mmio_read(machine, BAR + 0x30, 8) == queue_used(TX) && mmio_read(machine, BAR + 0x14, 1) == 11);
	machine_destroy(machine);
}

/* The device is broken: it says so, tells why, and works again after a reset. */
static void check_broken(struct machine *machine, const char *why)
{
	CHECK(mmio_read(machine, BAR + 0x14, 1) & 0x40);
	CHECK(machine->console.virtio.error.code == EPROTO);
	if (!strstr(machine->console.virtio.error.text, why))
		fprintf(stderr, "%s, not: %s\n", machine->console.virtio.error.text, why);
	CHECK(strstr(machine->console.virtio.error.text, why));
	machine->console.virtio.error.code = 0;
	open_port(machine);
	CHECK(machine->console.virtio.error.code == 0);
	send(machine, TX, "alive", 5);
}

TEST(queue_that_is_nowhere_breaks_the_device)
{
	static const struct {
		uint32_t reg;
		uint64_t value;
		const char *why;
	} cases[] = {
		{ 0x18, 0, "bad size" },
		{ 0x18, 3, "bad size" },
		{ 0x18, 64, "bad size" },
		{ 0x20, RAM_BASE + 8, "alignment" },
		{ 0x28, RAM_BASE + 1, "alignment" },
		{ 0x30, RAM_BASE + 2, "alignment" },
		{ 0x20, 0, "not in RAM" },
		{ 0x20, RAM_BASE + RAM_BYTES - 0x1f0, "not in RAM" },
		{ 0x28, RAM_BASE - 2, "not in RAM" },
		{ 0x28, RAM_BASE + RAM_BYTES - 68, "not in RAM" },
		{ 0x30, RAM_BASE + RAM_BYTES - 260, "not in RAM" },
		{ 0x30, 0xfffffffffffffffcULL, "not in RAM" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct machine *machine = machine_create(-1);

		driver_negotiate(machine, DRIVER_FEATURES);
		mmio_write(machine, BAR + 0x16, 0, 2);
		mmio_write(machine, BAR + 0x20, queue_desc(0), 8);
		mmio_write(machine, BAR + 0x28, queue_avail(0), 8);
		mmio_write(machine, BAR + 0x30, queue_used(0), 8);
		mmio_write(machine, BAR + cases[i].reg, cases[i].value, cases[i].reg == 0x18 ? 2 : 8);
		mmio_write(machine, BAR + 0x1c, 1, 2);
		CHECK(mmio_read(machine, BAR + 0x1c, 2) == 0);
		check_broken(machine, cases[i].why);
		machine_destroy(machine);
	}
}

struct hostile {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags, next;
	const char *why;
};

TEST(descriptors_that_no_driver_writes_break_the_device)
{
	static const struct hostile cases[] = {
		{ 0, 8, 0, 0, "not RAM" },
		{ RAM_BASE - 1, 8, 0, 0, "not RAM" },
		{ RAM_BASE + RAM_BYTES - 7, 8, 0, 0, "not RAM" },
		{ 0xfffffffffffffff8ULL, 16, 0, 0, "not RAM" },
		{ BAR, 8, 0, 0, "not RAM" },
		{ BUFFERS, 0, 0, 0, "descriptor of 0 bytes" },
		{ BUFFERS, 0xffffffff, 0, 0, "descriptor of 4294967295 bytes" },
		{ BUFFERS, (1 << 20) + 1, 0, 0, "descriptor of 1048577 bytes" },
		{ BUFFERS, 8, 4, 0, "flags 0x4" }, /* INDIRECT was not offered */
		{ BUFFERS, 8, 0x8000, 0, "flags 0x8000" },
		{ BUFFERS, 8, NEXT, 0, "longer than its queue" },
		{ BUFFERS, 8, NEXT, 16, "descriptor 16 in a queue of 16" },
		{ BUFFERS, 8, NEXT, 0xffff, "descriptor 65535" },
		{ BUFFERS, 8, WRITE | NEXT, 5, "to read after one to write" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct machine *machine = machine_with_port(-1);
		uint32_t id, len;

		set_desc(machine, TX, 0, cases[i].gpa, cases[i].len, cases[i].flags, cases[i].next);
		set_desc(machine, TX, 5, BUFFERS, 8, 0, 0);
		offer(machine, TX, 0, SIZE);
		CHECK(!take_used(machine, TX, SIZE, &id, &len) && machine->out.written == 0);
		CHECK(interrupts(machine, 0) == 1 && mmio_read(machine, BAR + 0x100, 1) & 2);
		CHECK(mmio_read(machine, BAR + 0x100, 1) == 0); /* read to clear */
		mmio_write(machine, BAR + NOTIFY, 0, 2);
		check_broken(machine, cases[i].why);
		machine_destroy(machine);
	}
}

TEST(chains_are_of_a_mebibyte_at_most)
{
	struct machine *machine = machine_with_port(-1);
	uint32_t id, len;

	machine->out.limit = UINT64_MAX;
	for (uint16_t i = 0; i < 8; i++) /* all of them the same 128 KiB */
		set_desc(machine, TX, i, RAM_BASE, 0x20000, i < 7 ? NEXT : 0, i + 1);
	offer(machine, TX, 0, SIZE);
	CHECK(take_used(machine, TX, SIZE, &id, &len) && machine->out.written == 0x100000);
	set_desc(machine, TX, 7, RAM_BASE, 0x20000, NEXT, 8);
	set_desc(machine, TX, 8, RAM_BASE, 1, 0, 0);
	offer(machine, TX, 0, SIZE);
	CHECK(machine->out.written == 0x100000);
	check_broken(machine, "descriptor of 1 bytes after 1048576");
	machine_destroy(machine);
}

TEST(rings_that_no_driver_writes_break_the_device)
{
	struct machine *machine = machine_with_port(-1);
	uint16_t *avail = ram(machine, queue_avail(TX));

	avail[1] = 17;
	mmio_write(machine, BAR + NOTIFY, 0, 2);
	check_broken(machine, "17 buffers available in a queue of 16");
	avail[1] = 0xffff;
	mmio_write(machine, BAR + NOTIFY, 0, 2);
	check_broken(machine, "buffers available");
	offer(machine, TX, 0x8000, SIZE);
	check_broken(machine, "descriptor 32768");
	machine_destroy(machine);
}

TEST(messages_that_no_driver_sends_break_the_device_or_do_nothing)
{
	struct machine *machine = machine_with_port(-1);
	uint32_t id, len;

	control(machine, 7, 3, 1); /* PORT_READY of a port that never was */
	control(machine, 0, 99, 1);
	CHECK(!take_used(machine, CONTROL_RX, SIZE, &id, &len));
	send(machine, CONTROL_TX, "1234567", 7);
	check_broken(machine, "control message of 7 bytes");
	driver_start(machine, DRIVER_FEATURES, SIZE);
	offer_room(machine, CONTROL_RX, 0, 7);
	control(machine, 0, 0, 1);
	check_broken(machine, "a buffer of 7 bytes is too small");
	set_desc(machine, RX, 0, BUFFERS, 8, 0, 0);
	driver_start(machine, 1ULL << 32, SIZE);
	set_desc(machine, RX, 0, BUFFERS, 8, 0, 0); /* nothing to write into */
	offer(machine, RX, 0, SIZE);
	virtio_console_send(&machine->console, (const uint8_t *)"x", 1);
	check_broken(machine, "a buffer of 0 bytes");
	machine_destroy(machine);
}

TEST(masked_vectors_pend_until_they_are_unmasked)
{
	struct machine *machine = machine_with_port(-1);
	uint64_t entry = BAR + TABLE + 16ULL * (1 + TX);

	send(machine, TX, "x", 1);
	CHECK(interrupts(machine, 1 + TX) == 1 && machine->slots[FIRST_SLOT + 1 + TX].data == 0x4032);
	mmio_write(machine, entry + 12, 1, 4);
	send(machine, TX, "x", 1);
	send(machine, TX, "x", 1);
	CHECK(interrupts(machine, 1 + TX) == 0 && mmio_read(machine, BAR + 0x1800, 8) == 1 << (1 + TX));
	mmio_write(machine, entry + 8, 0x4099, 4); /* another message, as when an interrupt moves to another CPU */
	mmio_write(machine, entry + 12, 0, 4);
	CHECK(interrupts(machine, 1 + TX) == 1 && mmio_read(machine, BAR + 0x1800, 8) == 0);
	CHECK(machine->slots[FIRST_SLOT + 1 + TX].data == 0x4099);
	machine_destroy(machine);
}

TEST(vectors_are_masked_together_and_disabled)
{
	struct machine *machine = machine_with_port(-1);
	uint32_t at = machine->console.virtio.msix.capability;

	config_write(machine, 1, at + 2, 0xc000, 2);
	send(machine, TX, "x", 1);
	CHECK(interrupts(machine, 1 + TX) == 0);
	config_write(machine, 1, at + 2, 0x8000, 2);
	CHECK(interrupts(machine, 1 + TX) == 1);
	config_write(machine, 1, at + 2, 0, 2);
	send(machine, TX, "x", 1);
	config_write(machine, 1, at + 2, 0x8000, 2);
	CHECK(interrupts(machine, 1 + TX) == 0 && mmio_read(machine, BAR + 0x1800, 4) == 0);
	machine_destroy(machine);
}

TEST(vectors_cost_a_route_only_when_used_and_changed)
{
	struct machine *machine = machine_with_port(-1);

	for (int i = 0; i < 100; i++)
		send(machine, TX, "x", 1);
	CHECK(machine->slots[FIRST_SLOT].connects == 0 && machine->slots[FIRST_SLOT + 1 + RX].connects == 0);
	CHECK(machine->slots[FIRST_SLOT + 1 + TX].connects == 1 && machine->doorbells == 1);
	machine_destroy(machine);
}

TEST(route_that_the_host_refuses_is_an_error_of_the_device)
{
	struct machine *machine = machine_with_port(-1);

	machine->fail_connect = ENOSPC;
	send(machine, TX, "x", 1);
	CHECK(mmio_read(machine, BAR + 0x14, 1) & 0x40);
	CHECK(machine->console.virtio.error.code == ENOSPC);
	machine_destroy(machine);
}
