// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz target of the rings and what is in the buffers: each 12 bytes of input change one thing in a
 * driver's rings, move a queue over other things, or ring. Nothing may reach outside, hang, or be
 * counted wrongly, and the driver can start again afterwards.
 */
#include "fuzz_standalone.h"
#include "vmm_driver.h"

#define SIZE 16U

enum action { DESCRIPTOR, LONG_DESCRIPTOR, OFFER, INDEX, FLAGS, MESSAGE, POKE, RING, HOST_SENDS, PLACE, START, ACTIONS };

struct step {
	uint8_t action;
	uint8_t queue;
	uint8_t index;
	uint8_t flags;
	uint16_t next;
	uint16_t offset;
	uint32_t value;
};

/* Most addresses are in or just around RAM. */
static uint64_t address(const struct step *step)
{
	return RAM_BASE - 0x100 + step->offset * 4ULL + (step->index & 0x80 ? (uint64_t)step->value << 32 : 0);
}

static void place(struct machine *machine, const struct step *step, uint32_t queue)
{
	mmio_write(machine, BAR + 0x16, queue, 2);
	mmio_write(machine, BAR + 0x18, step->index & 0x40 ? step->next : 1U << step->index % 6, 2);
	mmio_write(machine, BAR + 0x1a, queue + 1, 2);
	mmio_write(machine, BAR + 0x20, RAM_BASE + step->offset * 16ULL, 8);
	mmio_write(machine, BAR + 0x28, RAM_BASE + (step->value & 0xffff) * 2, 8);
	mmio_write(machine, BAR + 0x30, RAM_BASE + (step->value >> 16) * 4, 8);
	mmio_write(machine, BAR + 0x1c, 1, 2);
}

/* Negotiate anew, place one queue as the input says, and start. */
static void restart(struct machine *machine, const struct step *step, uint32_t placed)
{
	driver_negotiate(machine, step->flags & 1 ? DRIVER_FEATURES : 1ULL << 32);
	driver_vectors(machine);
	for (uint32_t queue = 0; queue < 4; queue++) {
		if (queue == placed)
			place(machine, step, queue);
		else
			driver_queue(machine, queue, SIZE);
	}
	mmio_write(machine, BAR + 0x14, 15, 1);
}

static void change_rings(struct machine *machine, const struct step *step, uint32_t queue)
{
	uint16_t *avail = ram(machine, queue_avail(queue));

	switch (step->action % ACTIONS) {
	case DESCRIPTOR:
		set_desc(machine, queue, step->index % SIZE, address(step), step->value % 0x800, step->flags & 3,
			 step->next % SIZE);
		break;
	case LONG_DESCRIPTOR:
		set_desc(machine, queue, step->index % SIZE, address(step), step->value, step->flags, step->next);
		break;
	case OFFER:
		avail[2 + avail[1] % SIZE] = step->flags & 0x80 ? step->next : step->next % SIZE;
		avail[1]++;
		break;
	case INDEX:
		avail[1] = step->next;
		break;
	default:
		avail[0] = step->next;
	}
}

static void act(struct machine *machine, const struct step *step)
{
	uint32_t queue = step->queue % 4;
	uint8_t sent[256];

	switch (step->action % ACTIONS) {
	case MESSAGE: /* of the port 0 */
		memset(ram(machine, RAM_BASE + step->offset), 0, 4);
		memcpy(ram(machine, RAM_BASE + step->offset + 4), &step->value, 4);
		break;
	case POKE:
		memcpy(ram(machine, RAM_BASE + step->offset), &step->value, 4);
		break;
	case RING:
		mmio_write(machine, BAR + NOTIFY, queue, 2);
		break;
	case HOST_SENDS:
		memset(sent, 's', sizeof(sent));
		virtio_console_send(&machine->console, sent, step->index);
		break;
	case PLACE:
		place(machine, step, queue);
		break;
	case START:
		restart(machine, step, step->queue % 8);
		break;
	default:
		change_rings(machine, step, queue);
	}
	supervise(machine);
}

/* Each buffer taken was at most a chain, and was given back: used indices count them all. */
static void check_counts(const struct machine *machine)
{
	for (uint32_t i = 0; i < 4; i++) {
		const struct virtqueue_state *state = &machine->console.virtio.common.queues[i].state;
		uint16_t lost = (uint16_t)(state->next_avail - state->next_used);

		CHECK(lost <= 1); /* the one that broke the device */
		CHECK(lost == 0 || machine->console.virtio.error.code);
	}
}

static void check_alive(struct machine *machine)
{
	uint64_t before;
	uint32_t id, len;

	driver_start(machine, DRIVER_FEATURES, SIZE); /* its reset still takes what was offered without a ring */
	before = machine->out.written;
	set_desc(machine, 1, 0, BUFFERS, 5, 0, 0);
	offer(machine, 1, 0, SIZE);
	CHECK(take_used(machine, 1, SIZE, &id, &len) && machine->out.written == before + 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct machine *machine = machine_create(-1);

	machine->out.limit = UINT64_MAX;
	driver_start(machine, DRIVER_FEATURES, SIZE);
	for (size_t at = 0; at + sizeof(struct step) <= bytes; at += sizeof(struct step)) {
		struct step step;

		memcpy(&step, data + at, sizeof(step));
		act(machine, &step);
		check_counts(machine);
	}
	check_alive(machine);
	machine_destroy(machine);
	return 0;
}
