// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz target of the channel's device. As long as the driver keeps to the rules all that it sends
 * reaches the sink, in order, and all that the host sends reaches the driver's buffers; once the
 * input has scribbled over memory or over a saved state, nothing may crash, reach outside or hang,
 * and the next driver finds a working device.
 */
#include <sys/mman.h>

#include "fuzz_standalone.h"
#include "vmm_port.h"

#define DATA (RAM_BASE + 0x10000) /* what chains point into: no rings are there */
#define DATA_BYTES 0x20000U
#define ROOM_BYTES 0x400U /* from one buffer() to the next */
#define LIMIT (1U << 20)

struct step {
	uint8_t action;
	uint8_t count;
	uint16_t offset;
	uint32_t value;
};

enum action { SENDS, CONTROLS, GIVES_ROOM, HOST_SENDS, TAKES, SCRIBBLES, RESTORES, ACTIONS };

/* What should have arrived, and what did. */
struct model {
	bool sound; /* the driver has kept to the rules since it started */
	uint8_t sent[LIMIT];
	size_t bytes_sent;
	uint8_t host_sent[LIMIT];
	size_t bytes_host_sent, bytes_received;
};

static struct model model;

static int sink_file(void)
{
	static int fd;

	if (!fd)
		fd = memfd_create("sink", MFD_CLOEXEC);
	CHECK(fd > 0 && ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

/* A chain of up to SIZE pieces, each anywhere in DATA. The device takes it at once. */
static void sends(struct machine *machine, const struct step *step)
{
	uint32_t pieces = 1 + step->count % SIZE, len = step->value % 0x300 + 1, id, used;

	if (!model.sound || model.bytes_sent + pieces * len > LIMIT)
		return;
	for (uint32_t i = 0; i < pieces; i++) {
		uint64_t at = DATA + (step->offset + i * (step->value >> 16)) % (DATA_BYTES - len);

		set_desc(machine, TX, i, at, len, i + 1 < pieces ? NEXT : 0, (uint16_t)(i + 1));
		memcpy(model.sent + model.bytes_sent, ram(machine, at), len);
		model.bytes_sent += len;
	}
	offer(machine, TX, 0, SIZE);
	CHECK(take_used(machine, TX, SIZE, &id, &used) && id == 0 && used == 0);
}

/* Any message of the right size is one that a driver may send. */
static void controls(struct machine *machine, const struct step *step)
{
	uint32_t id, used;

	if (!model.sound)
		return;
	memcpy(ram(machine, DATA), &step->value, 4);
	memset(ram(machine, DATA + 4), 0, 4);
	*(uint8_t *)ram(machine, DATA + 4) = (uint8_t)(step->offset % 8);
	*(uint8_t *)ram(machine, DATA + 6) = step->count % 2;
	if (step->count & 0x80)
		memset(ram(machine, DATA), 0, 4); /* the port there is */
	set_desc(machine, CONTROL_TX, 0, DATA, 8, 0, 0);
	offer(machine, CONTROL_TX, 0, SIZE);
	CHECK(take_used(machine, CONTROL_TX, SIZE, &id, &used) && id == 0 && used == 0);
	while (take_used(machine, CONTROL_RX, SIZE, &id, &used)) {
		CHECK(used == 8 || used == 15);
		offer_room(machine, CONTROL_RX, (uint16_t)id, 256);
	}
}

/* Buffers come back in the order they were given, so the next one is free unless all are out. */
static void gives_room(struct machine *machine, uint32_t len)
{
	uint16_t given = (uint16_t)(machine->next_avail[RX] - machine->seen_used[RX]);

	if (model.sound && given < SIZE)
		offer_room(machine, RX, machine->next_avail[RX] % SIZE, len);
}

static void host_sends(struct machine *machine, const struct step *step)
{
	uint8_t *data = model.host_sent + model.bytes_host_sent;
	uint32_t bytes = step->offset % 2000;

	if (model.bytes_host_sent + bytes > LIMIT)
		return;
	for (uint32_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(step->value + i * 7);
	model.bytes_host_sent += virtio_console_send(&machine->console, data, bytes);
}

/* What buffers come back with is what is due. */
static void takes(struct machine *machine)
{
	uint32_t id, used;

	while (model.sound && take_used(machine, RX, SIZE, &id, &used)) {
		CHECK(id < SIZE && used && used <= ROOM_BYTES);
		CHECK(model.bytes_received + used <= model.bytes_host_sent);
		CHECK(memcmp(ram(machine, buffer(RX, id)), model.host_sent + model.bytes_received, used) == 0);
		model.bytes_received += used;
	}
}

static void check_sent(struct machine *machine)
{
	static uint8_t found[LIMIT + 1];
	ssize_t n = pread(machine->out.fd, found, sizeof(found), 0);

	CHECK(machine->out.error == 0 && n == (ssize_t)model.bytes_sent && machine->out.written == model.bytes_sent);
	CHECK(memcmp(found, model.sent, model.bytes_sent) == 0);
}

/* From here on the driver is not to be believed; what it sends is not written down. */
static void lose_trust(struct machine *machine)
{
	if (!model.sound)
		return;
	takes(machine);
	check_sent(machine);
	model.sound = false;
	machine->out.fd = -1;
	machine->out.limit = UINT64_MAX;
}

static void scribbles(struct machine *machine, const struct step *step)
{
	uint64_t at = RAM_BASE + (step->count & 1 ? step->offset % (4 * QUEUE_BYTES) : step->offset * 4ULL);

	lose_trust(machine);
	memcpy(ram(machine, at & ~3ULL), &step->value, 4);
	mmio_write(machine, BAR + NOTIFY, step->count >> 1 & 3, 2);
}

/* A state that was changed while it was away is refused or harmless. */
static void restores(struct machine *machine, const struct step *step)
{
	struct virtio_console_saved saved;
	struct vmm_error err;

	virtio_console_save(&machine->console, &saved);
	if (step->count & 1) {
		/* Most changes are in the small part that says where the rings are. */
		bool any = (step->count & 6) == 6;
		size_t from = any ? 0 : offsetof(struct virtio_console_saved, virtio.queues);
		size_t room = (any ? sizeof(saved) : from + sizeof(saved.virtio.queues)) - 4 - from;

		lose_trust(machine);
		memcpy((uint8_t *)&saved + from + step->offset % room, &step->value, step->count & 8 ? 4 : 1);
		virtio_console_restore(&machine->console, &saved, &err);
	} else {
		CHECK(virtio_console_restore(&machine->console, &saved, &err) == 0);
	}
	supervise(machine);
}

static void act(struct machine *machine, const struct step *step)
{
	switch (step->action % ACTIONS) {
	case SENDS:
		sends(machine, step);
		break;
	case CONTROLS:
		controls(machine, step);
		break;
	case GIVES_ROOM:
		gives_room(machine, 1 + step->value % ROOM_BYTES);
		break;
	case HOST_SENDS:
		host_sends(machine, step);
		break;
	case TAKES:
		takes(machine);
		break;
	case SCRIBBLES:
		scribbles(machine, step);
		break;
	default:
		restores(machine, step);
	}
}

/* With the port open and room enough, all that the host sent arrives. */
static void settle(struct machine *machine)
{
	const struct step open = { .offset = 6, .count = 0x81 };

	controls(machine, &open);
	for (size_t before = SIZE_MAX; model.sound && before != model.bytes_received;) {
		before = model.bytes_received;
		takes(machine);
		for (uint32_t i = 0; i < SIZE; i++)
			gives_room(machine, ROOM_BYTES);
		takes(machine);
	}
	CHECK(!model.sound || model.bytes_received == model.bytes_host_sent);
}

static void check_alive(struct machine *machine)
{
	uint64_t before;

	config_write(machine, 1, 0x10, BAR, 4);
	open_port(machine);
	before = machine->out.written;
	send(machine, TX, "alive", 5);
	CHECK(machine->out.written == before + 5);
}

/* Bytes that tell where they are from. */
static void fill_data(struct machine *machine)
{
	static uint8_t pattern[DATA_BYTES];

	for (uint32_t i = 0; !pattern[1] && i < DATA_BYTES; i++)
		pattern[i] = (uint8_t)(i * 31 + i / 256);
	memcpy(ram(machine, DATA), pattern, DATA_BYTES);
}

/* The first byte says how many steps pass before memory and states are touched. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct machine *machine;

	if (bytes < 1)
		return 0;
	machine = machine_with_port(sink_file());
	fill_data(machine);
	model.sound = true;
	model.bytes_sent = model.bytes_host_sent = model.bytes_received = 0;
	for (size_t at = 1, n = 0; at + sizeof(struct step) <= bytes; at += sizeof(struct step), n++) {
		struct step step;

		memcpy(&step, data + at, sizeof(step));
		if (n < *data && step.action % ACTIONS >= SCRIBBLES)
			step.action = SENDS;
		act(machine, &step);
	}
	settle(machine);
	lose_trust(machine);
	check_alive(machine);
	machine_destroy(machine);
	return 0;
}
