// SPDX-License-Identifier: GPL-2.0-only
/* The VMM's virtio console and its port, driven as Linux drives them. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vmm_port.h"
#include "vmm_test.h"

TEST(console_has_one_named_port_and_takes_its_bytes)
{
	int fd = output_file();
	struct machine *machine = machine_with_port(fd);

	CHECK(interrupts(machine, 1 + CONTROL_RX) == 2 && interrupts(machine, 1 + CONTROL_TX) == 3);
	send(machine, TX, "frame one,", 10);
	send(machine, TX, "frame two", 9);
	check_output(fd, "frame one,frame two");
	CHECK(interrupts(machine, 1 + TX) == 2 && machine->out.written == 19);
	CHECK(machine->slots[FIRST_SLOT + 1 + TX].address == 0xfee01000);
	CHECK(machine->slots[FIRST_SLOT + 1 + TX].data == 0x4032);
	machine_destroy(machine);
	close(fd);
}

TEST(console_takes_chains_in_order)
{
	int fd = output_file();
	struct machine *machine = machine_with_port(fd);
	uint32_t id, len;

	memcpy(ram(machine, BUFFERS), "cba", 3);
	set_desc(machine, TX, 9, BUFFERS + 2, 1, NEXT, 3);
	set_desc(machine, TX, 3, BUFFERS + 1, 1, NEXT, 15);
	set_desc(machine, TX, 15, BUFFERS, 1, 0, 9);
	offer(machine, TX, 9, SIZE);
	check_output(fd, "abc");
	CHECK(take_used(machine, TX, SIZE, &id, &len) && id == 9);
	machine_destroy(machine);
	close(fd);
}

TEST(console_indices_wrap)
{
	struct machine *machine = machine_with_port(-1);

	for (int i = 0; i < 70000; i++)
		send(machine, TX, "x", 1);
	CHECK(machine->out.written == 70000 && machine->next_avail[TX] == 70000 - 65536);
	machine_destroy(machine);
}

TEST(console_takes_all_of_a_burst_with_one_interrupt)
{
	int fd = output_file();
	struct machine *machine = machine_with_port(fd);
	uint16_t *avail = ram(machine, queue_avail(TX));

	for (uint16_t i = 0; i < 10; i++) {
		memset(ram(machine, buffer(TX, i)), '0' + i, 1);
		set_desc(machine, TX, i, buffer(TX, i), 1, 0, 0);
		avail[2 + i] = i;
	}
	avail[1] = 10;
	mmio_write(machine, BAR + NOTIFY, TX, 2);
	check_output(fd, "0123456789");
	CHECK(interrupts(machine, 1 + TX) == 1);
	machine_destroy(machine);
	close(fd);
}

TEST(console_takes_what_no_doorbell_told_of_before_a_reset)
{
	int fd = output_file();
	struct machine *machine = machine_with_port(fd);
	uint16_t *avail = ram(machine, queue_avail(TX));

	memcpy(ram(machine, buffer(TX, 0)), "last words", 10);
	set_desc(machine, TX, 0, buffer(TX, 0), 10, 0, 0);
	avail[2] = 0;
	avail[1] = 1;
	check_output(fd, "");
	mmio_write(machine, BAR + 0x14, 0, 1);
	check_output(fd, "last words");
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 0);
	machine_destroy(machine);
	close(fd);
}

struct flood {
	struct machine *machine;
	atomic_bool stop;
};

/* A vCPU that makes all buffers available again as soon as they are used. */
static void *flood(void *argument)
{
	struct flood *flood = argument;
	uint16_t *avail = ram(flood->machine, queue_avail(TX));
	uint16_t *used = ram(flood->machine, queue_used(TX));

	while (!atomic_load(&flood->stop))
		__atomic_store_n(&avail[1], (uint16_t)(__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) + SIZE), __ATOMIC_RELEASE);
	return NULL;
}

/* The device lock comes free after 64 buffers, and the rest is not forgotten. */
TEST(console_takes_turns_with_a_guest_that_never_stops)
{
	struct machine *machine = machine_with_port(-1);
	struct flood vcpu = { .machine = machine };
	uint16_t taken = 0;
	pthread_t thread;
	eventfd_t count;

	machine->out.limit = UINT64_MAX;
	for (uint32_t i = 0; i < SIZE; i++)
		set_desc(machine, TX, i, BUFFERS, 1, 0, 0);
	alarm(60);
	CHECK(pthread_create(&thread, NULL, flood, &vcpu) == 0);
	while (taken != 64) {
		uint16_t before = machine->console.virtio.common.queues[TX].state.next_avail;

		eventfd_read(machine->watched_fd, &count);
		eventfd_write(machine->watched_fd, 1);
		machine->ready(machine->watched);
		taken = (uint16_t)(machine->console.virtio.common.queues[TX].state.next_avail - before);
		CHECK(taken <= 64);
	}
	CHECK(eventfd_read(machine->watched_fd, &count) == 0 && machine->console.virtio.error.code == 0);
	atomic_store(&vcpu.stop, true);
	pthread_join(thread, NULL);
	machine_destroy(machine);
}

TEST(console_respects_a_driver_that_wants_no_interrupts)
{
	struct machine *machine = machine_with_port(-1);

	interrupts(machine, 1 + TX);
	*(uint16_t *)ram(machine, queue_avail(TX)) = 1;
	send(machine, TX, "x", 1);
	CHECK(interrupts(machine, 1 + TX) == 0);
	machine_destroy(machine);
}

TEST(console_input_waits_for_buffers_and_for_a_reader)
{
	struct machine *machine = machine_create(-1);
	uint32_t id, len;

	CHECK(virtio_console_send(&machine->console, (const uint8_t *)"early", 5) == 5);
	open_port(machine);
	CHECK(take_used(machine, RX, SIZE, &id, &len) && len == 5 && interrupts(machine, 1 + RX) == 1);
	CHECK(memcmp(ram(machine, buffer(RX, id)), "early", 5) == 0);
	control(machine, 0, 6, 0);
	virtio_console_send(&machine->console, (const uint8_t *)"late", 4);
	CHECK(!take_used(machine, RX, SIZE, &id, &len));
	control(machine, 0, 6, 1);
	CHECK(take_used(machine, RX, SIZE, &id, &len) && len == 4);
	machine_destroy(machine);
}

TEST(console_input_is_bounded_and_goes_on_when_buffers_come)
{
	struct machine *machine = machine_with_port(-1);
	uint8_t data[10000], found[10000];
	uint32_t id, len, total = 0;
	size_t sent;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 % 253);
	/* 4096 bytes wait at most; they fill the 16 buffers of 256 at once, and 4096 more then wait */
	sent = virtio_console_send(&machine->console, data, sizeof(data));
	CHECK(sent == 4096);
	sent += virtio_console_send(&machine->console, data + sent, sizeof(data) - sent);
	CHECK(sent == 8192 && virtio_console_send(&machine->console, data, 1) == 0);
	while (take_used(machine, RX, SIZE, &id, &len)) {
		memcpy(found + total, ram(machine, buffer(RX, id)), len);
		total += len;
		if (total < 8192)
			offer_room(machine, RX, (uint16_t)id, 256);
	}
	CHECK(total == 8192 && memcmp(found, data, total) == 0);
	CHECK(virtio_console_send(&machine->console, data, 1) == 1);
	machine_destroy(machine);
}

TEST(console_asks_for_a_doorbell_only_when_buffers_lack)
{
	struct machine *machine = machine_with_port(-1);
	uint8_t data[4096] = { 0 };
	uint32_t id, len;

	virtio_console_send(&machine->console, data, 4096);
	CHECK(take_used(machine, RX, SIZE, &id, &len) && !offer_room(machine, RX, (uint16_t)id, 256));
	virtio_console_send(&machine->console, data, 300);
	CHECK(take_used(machine, RX, SIZE, &id, &len) && offer_room(machine, RX, (uint16_t)id, 256));
	CHECK(machine->console.state.input.count == 0);
	CHECK(take_used(machine, RX, SIZE, &id, &len) && !offer_room(machine, RX, (uint16_t)id, 256));
	machine_destroy(machine);
}

TEST(console_without_multiport_is_one_open_port)
{
	int fd = output_file();
	struct machine *machine = machine_create(fd);
	uint32_t id, len;

	driver_start(machine, 1ULL << 32, SIZE);
	send(machine, TX, "plain", 5);
	check_output(fd, "plain");
	offer_room(machine, RX, 0, 256);
	virtio_console_send(&machine->console, (const uint8_t *)"in", 2);
	CHECK(take_used(machine, RX, SIZE, &id, &len) && len == 2);
	machine_destroy(machine);
	close(fd);
}

TEST(console_output_that_cannot_be_written_is_counted_and_the_guest_goes_on)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct machine *machine = machine_with_port(fd);

	send(machine, TX, "abc", 3);
	send(machine, TX, "de", 2);
	CHECK(machine->out.error == ENOSPC && machine->out.dropped == 5);
	machine_destroy(machine);
	close(fd);
}

TEST(console_starts_again_after_a_reset)
{
	int fd = output_file();
	struct machine *machine = machine_with_port(fd);

	send(machine, TX, "one", 3);
	for (int i = 0; i < 3; i++)
		open_port(machine);
	send(machine, TX, "two", 3);
	check_output(fd, "onetwo");
	mmio_write(machine, BAR + 0x14, 0, 1);
	CHECK(mmio_read(machine, BAR + 0x14, 1) == 0 && mmio_read(machine, BAR + 0x1c, 2) == 0);
	mmio_write(machine, BAR + NOTIFY, 0, 2);
	machine_destroy(machine);
	close(fd);
}

TEST(console_goes_on_in_another_machine)
{
	int fd = output_file();
	struct machine *machine = machine_with_port(fd), *clone = machine_create(fd);
	struct virtio_console_saved saved;
	struct vmm_error err;
	uint32_t id, len;

	send(machine, TX, "here ", 5);
	control(machine, 0, 6, 0);
	virtio_console_send(&machine->console, (const uint8_t *)"typed", 5);
	virtio_console_save(&machine->console, &saved);
	memcpy(ram(clone, RAM_BASE), ram(machine, RAM_BASE), RAM_BYTES);
	memcpy(clone->next_avail, machine->next_avail, sizeof(clone->next_avail));
	memcpy(clone->seen_used, machine->seen_used, sizeof(clone->seen_used));
	machine_destroy(machine);
	CHECK(virtio_console_restore(&clone->console, &saved, &err) == 0);
	CHECK(clone->doorbell_at == BAR + NOTIFY && mmio_read(clone, BAR + 0x14, 1) == 15);
	send(clone, TX, "and there", 9);
	check_output(fd, "here and there");
	CHECK(interrupts(clone, 1 + TX) == 1);
	control(clone, 0, 6, 1);
	CHECK(take_used(clone, RX, SIZE, &id, &len) && len == 5);
	machine_destroy(clone);
	close(fd);
}

TEST(saved_state_that_does_not_fit_is_refused)
{
	struct machine *machine = machine_with_port(-1), *clone = machine_create(-1);
	struct virtio_console_saved saved;
	struct vmm_error err;

	virtio_console_save(&machine->console, &saved);
	saved.virtio.queues[TX].desc = RAM_BASE + RAM_BYTES;
	CHECK(virtio_console_restore(&clone->console, &saved, &err) == -EINVAL);
	virtio_console_save(&machine->console, &saved);
	saved.console.input.count = FIFO_BYTES + 1;
	CHECK(virtio_console_restore(&clone->console, &saved, &err) == -EINVAL);
	machine_destroy(machine);
	machine_destroy(clone);
}
