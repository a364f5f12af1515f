// SPDX-License-Identifier: GPL-2.0-only
#include "virtio_console.h"

#include <errno.h>
#include <string.h>

#define DEVICE_ID 3
#define CLASS_REVISION 0x07800001U /* communication controller, other; revision 1 is modern virtio */
#define F_MULTIPORT (1ULL << 1)
#define PORT 0
#define BUFFERS_PER_TURN 64 /* then other devices and the machine's end get the lock */

enum { RECEIVE, TRANSMIT, CONTROL_RECEIVE, CONTROL_TRANSMIT };

enum control_event { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 };

struct control_message {
	uint32_t port;
	uint16_t event;
	uint16_t value;
};

/* struct virtio_console_config */
static const struct {
	uint16_t columns, rows;
	uint32_t max_ports, emergency_write;
} config = { .max_ports = 1 };

/* In the order they are sent: a bit of owed each. Linux takes PORT_OPEN for a port it knows only. */
static const uint8_t owed_events[] = { PORT_ADD, PORT_NAME, PORT_OPEN };

enum { OWE_ADD = 1, OWE_NAME = 2, OWE_OPEN = 4, OWE_ALL = 7 };

static void transmit_chain(struct virtio_console *console, const struct virtqueue_chain *chain)
{
	for (uint32_t i = 0; i < chain->readable; i++)
		sink_write(console->out, chain->segments[i].iov_base, chain->segments[i].iov_len);
}

/* Linux's order: DEVICE_READY, then PORT_READY for each port added, then PORT_OPEN when it is used. */
static void control_chain(struct virtio_console *console, const struct virtqueue_chain *chain)
{
	struct virtio_console_state *state = &console->state;
	struct control_message message;

	if (virtqueue_chain_read(chain, &message, sizeof(message)) < sizeof(message))
		virtio_pci_break(&console->virtio, "virtio console: a control message of %u bytes", chain->readable_bytes);
	else if (message.event == DEVICE_READY && message.value == 1)
		state->owed = OWE_ADD;
	else if (message.port != PORT)
		return; /* late words about a port that never was: nothing to do */
	else if (message.event == PORT_READY && message.value == 1)
		state->owed |= OWE_NAME | OWE_OPEN;
	else if (message.event == PORT_OPEN)
		state->guest_open = message.value == 1;
}

/*
 * Take what the driver sends on one queue. No doorbells are wanted while we look anyway. Each buffer
 * goes back at once, as Linux spins until its write has been taken.
 */
static void drain(struct virtio_console *console, uint32_t index,
		  void (*take)(struct virtio_console *, const struct virtqueue_chain *))
{
	struct virtio_pci *virtio = &console->virtio;
	struct virtqueue *queue = &virtio->common.queues[index];
	struct virtqueue_chain chain;
	uint32_t taken = 0;

	virtqueue_want_doorbell(queue, false);
	do {
		while (taken < BUFFERS_PER_TURN && virtio_pci_pop(virtio, index, &chain)) {
			take(console, &chain);
			virtqueue_push(queue, &chain, 0);
			taken++;
		}
		if (taken == BUFFERS_PER_TURN) {
			virtio_pci_ring(virtio);
			break;
		}
		virtqueue_want_doorbell(queue, true);
	} while (virtio_pci_running(virtio) && virtqueue_waiting(queue));
	if (taken)
		virtio_pci_interrupt(virtio, index);
}

/* Fill one buffer of the driver's: with how much, 0 when it is too small. */
static uint32_t give_control(struct virtio_console *console, const struct virtqueue_chain *chain)
{
	uint32_t next = (uint32_t)__builtin_ctz(console->state.owed);
	struct {
		struct control_message message;
		char name[sizeof(VIRTIO_CONSOLE_PORT_NAME)];
	} text = { { PORT, owed_events[next], 1 }, VIRTIO_CONSOLE_PORT_NAME };
	uint32_t bytes = sizeof(text.message) + (owed_events[next] == PORT_NAME ? sizeof(text.name) - 1 : 0);

	console->state.owed &= (uint8_t)~(1U << next);
	return virtqueue_chain_write(chain, &text, bytes) == bytes ? bytes : 0;
}

static uint32_t give_input(struct virtio_console *console, const struct virtqueue_chain *chain)
{
	uint8_t text[FIFO_BYTES];
	uint32_t room = chain->writable_bytes < sizeof(text) ? chain->writable_bytes : sizeof(text);

	return virtqueue_chain_write(chain, text, (uint32_t)fifo_get(&console->state.input, text, room));
}

static bool has_control(const struct virtio_console *console)
{
	return console->state.owed;
}

static bool has_input(const struct virtio_console *console)
{
	return console->state.input.count && console->state.guest_open;
}

/*
 * Send what waits for the guest in the buffers it provides. A doorbell is wanted only when buffers
 * lack: Linux fills these queues with a notification for each buffer, all of them exits.
 */
static void fill(struct virtio_console *console, uint32_t index, bool (*has)(const struct virtio_console *),
		 uint32_t (*give)(struct virtio_console *, const struct virtqueue_chain *))
{
	struct virtio_pci *virtio = &console->virtio;
	struct virtqueue *queue = &virtio->common.queues[index];
	struct virtqueue_chain chain;
	bool given = false;

	do {
		while (has(console) && virtio_pci_pop(virtio, index, &chain)) {
			uint32_t written = give(console, &chain);

			if (!written)
				virtio_pci_break(virtio, "virtio console: a buffer of %u bytes is too small to receive into",
						 chain.writable_bytes);
			virtqueue_push(queue, &chain, written);
			given = true;
		}
		virtqueue_want_doorbell(queue, has(console));
	} while (virtio_pci_running(virtio) && has(console) && virtqueue_waiting(queue));
	if (given)
		virtio_pci_interrupt(virtio, index);
}

static void look_at_queues(void *device)
{
	struct virtio_console *console = device;

	/* A driver without MULTIPORT knows one port, which is always open (5.3.5). */
	if (!(console->virtio.common.registers.driver_features & F_MULTIPORT))
		console->state.guest_open = 1;
	drain(console, TRANSMIT, transmit_chain);
	drain(console, CONTROL_TRANSMIT, control_chain);
	fill(console, CONTROL_RECEIVE, has_control, give_control);
	fill(console, RECEIVE, has_input, give_input);
}

/* What the host sent and the guest did not take stays, for the next driver. */
static void reset(void *device)
{
	struct virtio_console *console = device;

	console->state.owed = 0;
	console->state.guest_open = 0;
}

static const struct virtio_kind console_kind = {
	.id = DEVICE_ID,
	.class_revision = CLASS_REVISION,
	.features = F_MULTIPORT,
	.queues = VIRTIO_CONSOLE_QUEUES,
	.config = &config,
	.config_bytes = sizeof(config),
	.notify = look_at_queues,
	.reset = reset,
};

int virtio_console_init(struct virtio_console *console, const struct virtio_place *place, struct sink *out,
			struct vmm_error *err)
{
	console->state = (struct virtio_console_state){ 0 };
	console->out = out;
	return virtio_pci_init(&console->virtio, &console_kind, console, place, err);
}

void virtio_console_deinit(struct virtio_console *console)
{
	virtio_pci_deinit(&console->virtio);
}

size_t virtio_console_send(struct virtio_console *console, const uint8_t *data, size_t bytes)
{
	size_t n = fifo_put(&console->state.input, data, bytes);

	if (virtio_pci_running(&console->virtio))
		fill(console, RECEIVE, has_input, give_input);
	return n;
}

void virtio_console_save(const struct virtio_console *console, struct virtio_console_saved *ret)
{
	ret->console = console->state;
	virtio_pci_save(&console->virtio, &ret->virtio);
}

int virtio_console_restore(struct virtio_console *console, const struct virtio_console_saved *saved,
			   struct vmm_error *err)
{
	int rc = virtio_pci_restore(&console->virtio, &saved->virtio, err);

	if (rc)
		return rc;
	if (saved->console.input.count > FIFO_BYTES || saved->console.input.head >= FIFO_BYTES)
		return error_set(err, EINVAL, "virtio console: a saved queue of %u bytes", saved->console.input.count);
	console->state = saved->console;
	console->state.owed &= OWE_ALL;
	if (virtio_pci_running(&console->virtio))
		look_at_queues(console);
	return 0;
}
