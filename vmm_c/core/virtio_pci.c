// SPDX-License-Identifier: GPL-2.0-only
#include "virtio_pci.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MODERN_DEVICE 0x1040 /* plus the kind's id */
#define CAPABILITY_VENDOR 0x09
#define ISR_QUEUE 1
#define ISR_CONFIG 2

enum capability_type { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };

/* struct virtio_pci_cap; the last word is there for CAP_NOTIFY (the multiplier) and CAP_WINDOW (data). */
struct capability {
	uint8_t id, next, bytes, type, bar, padding[3];
	uint32_t offset, length, last;
};

#define WINDOW_BAR 4U
#define WINDOW_OFFSET 8U
#define WINDOW_LENGTH 12U
#define WINDOW_DATA 16U

static void record(struct virtio_pci *virtio, const struct vmm_error *err)
{
	if (!virtio->error.code)
		memcpy(&virtio->error, err, sizeof(*err)); /* GCC 12 warns of an assignment, wrongly */
}

static void raise_vector(struct virtio_pci *virtio, uint8_t why, uint32_t vector)
{
	struct vmm_error err;

	virtio->common.registers.isr |= why;
	if (!msix_raise(&virtio->msix, vector, &err))
		return;
	record(virtio, &err);
	virtio->common.registers.status |= VIRTIO_STATUS_NEEDS_RESET;
}

void virtio_pci_break(struct virtio_pci *virtio, const char *format, ...)
{
	bool running = virtio_pci_running(virtio);
	struct vmm_error err;
	va_list args;

	va_start(args, format);
	error_vset(&err, EPROTO, format, args);
	va_end(args);
	record(virtio, &err);
	virtio->common.registers.status |= VIRTIO_STATUS_NEEDS_RESET;
	if (running)
		raise_vector(virtio, ISR_CONFIG, virtio->common.registers.config_vector);
}

bool virtio_pci_running(const struct virtio_pci *virtio)
{
	uint8_t both = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET;

	return (virtio->common.registers.status & both) == VIRTIO_STATUS_DRIVER_OK;
}

int virtio_pci_pop(struct virtio_pci *virtio, uint32_t queue, struct virtqueue_chain *ret)
{
	struct vmm_error err;
	int rc = virtio_pci_running(virtio) ? virtqueue_pop(&virtio->common.queues[queue], ret, &err) : 0;

	if (rc < 0)
		virtio_pci_break(virtio, "virtio device %u, queue %u: %s", virtio->kind->id, queue, err.text);
	return rc > 0;
}

void virtio_pci_interrupt(struct virtio_pci *virtio, uint32_t queue)
{
	if (virtqueue_driver_wants_interrupt(&virtio->common.queues[queue]))
		raise_vector(virtio, ISR_QUEUE, virtio->common.queues[queue].state.vector);
}

void virtio_pci_ring(struct virtio_pci *virtio)
{
	eventfd_write(virtio->doorbell, 1);
}

void virtio_pci_serve(struct virtio_pci *virtio)
{
	if (virtio_pci_running(virtio))
		virtio->kind->notify(virtio->device);
}

static void doorbell_ready(void *device)
{
	struct virtio_pci *virtio = device;
	eventfd_t count;

	if (eventfd_read(virtio->doorbell, &count) == 0)
		virtio_pci_serve(virtio);
}

static bool set_doorbell(struct virtio_pci *virtio, uint64_t at, bool on)
{
	struct vmm_error err;
	int rc = at ? virtio->wires.set_doorbell(virtio->wires.machine, at, virtio->doorbell, on, &err) : 0;

	if (rc)
		record(virtio, &err);
	return rc == 0;
}

/* Let the doorbell follow the BAR. Without one, notifications come in as BAR writes and work as well. */
static void move_doorbell(struct virtio_pci *virtio)
{
	uint64_t bar = pci_function_bar(&virtio->function);
	uint64_t at = bar ? bar + VIRTIO_BAR_NOTIFY : 0;

	if (at == virtio->doorbell_at)
		return;
	set_doorbell(virtio, virtio->doorbell_at, false);
	virtio->doorbell_at = set_doorbell(virtio, at, true) ? at : 0;
}

static void bar_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct virtio_pci *virtio = device;
	uint64_t config = offset - VIRTIO_BAR_DEVICE;

	memset(data, 0, len);
	if (offset + len <= VIRTIO_COMMON_BYTES) {
		virtio_common_read(&virtio->common, (uint32_t)offset, data, len);
	} else if (offset == VIRTIO_BAR_ISR) {
		*(uint8_t *)data = virtio->common.registers.isr;
		virtio->common.registers.isr = 0;
	} else if (offset >= VIRTIO_BAR_MSIX) {
		msix_read(&virtio->msix, offset - VIRTIO_BAR_MSIX, data, len);
	} else if (offset >= VIRTIO_BAR_DEVICE && config + len <= virtio->kind->config_bytes) {
		memcpy(data, (const uint8_t *)virtio->kind->config + config, len);
	}
}

static void reset(struct virtio_pci *virtio)
{
	virtio->common.registers = (struct virtio_registers){ .config_vector = VIRTIO_NO_VECTOR };
	for (uint32_t i = 0; i < VIRTIO_MAX_QUEUES; i++)
		virtqueue_reset(&virtio->common.queues[i], virtio->common.queues[i].memory);
	virtio->kind->reset(virtio->device);
}

static void bar_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct virtio_pci *virtio = device;
	struct vmm_error err;

	if (offset + len <= VIRTIO_COMMON_BYTES) {
		enum virtio_event event = virtio_common_write(&virtio->common, (uint32_t)offset, data, len, &err);

		if (event == VIRTIO_BROKEN)
			virtio_pci_break(virtio, "virtio device %u, queue %u: %s", virtio->kind->id,
					 virtio->common.registers.queue_select, err.text);
		/* Linux may reset a device on its way to power off: what a doorbell still on its way is about would be lost. */
		if (event == VIRTIO_RESET || event == VIRTIO_STARTED)
			virtio_pci_serve(virtio);
		if (event == VIRTIO_RESET)
			reset(virtio);
	} else if (offset == VIRTIO_BAR_NOTIFY) {
		virtio_pci_serve(virtio);
	} else if (offset >= VIRTIO_BAR_MSIX && msix_write(&virtio->msix, offset - VIRTIO_BAR_MSIX, data, len, &err)) {
		virtio_pci_break(virtio, "%s", err.text);
	}
}

static const struct bus_ops bar_ops = { bar_read, bar_write };

/* Is this an access to the window's data, and the window set to a place in the BAR (4.1.4.9)? */
static bool window_access(const struct virtio_pci *virtio, uint32_t reg, uint32_t len, uint32_t *offset)
{
	const struct pci_function *function = &virtio->function;

	*offset = pci_function_get(function, virtio->window + WINDOW_OFFSET, 4);
	return reg == virtio->window + WINDOW_DATA &&
	       len == pci_function_get(function, virtio->window + WINDOW_LENGTH, 4) &&
	       pci_function_get(function, virtio->window + WINDOW_BAR, 1) == 0 && *offset % len == 0 &&
	       *offset < VIRTIO_BAR_BYTES;
}

static void before_config_read(void *device, uint32_t reg, uint32_t len)
{
	struct virtio_pci *virtio = device;
	uint32_t offset;

	if (window_access(virtio, reg, len, &offset))
		bar_read(virtio, offset, &virtio->function.config.bytes[reg], len);
}

static void after_config_write(void *device, uint32_t reg, uint32_t len)
{
	struct virtio_pci *virtio = device;
	struct vmm_error err;
	uint32_t offset;

	move_doorbell(virtio);
	if (msix_update(&virtio->msix, &err))
		virtio_pci_break(virtio, "%s", err.text);
	if (window_access(virtio, reg, len, &offset))
		bar_write(virtio, offset, &virtio->function.config.bytes[reg], len);
}

static uint8_t add_capability(struct pci_function *function, enum capability_type type, uint32_t offset, uint32_t length)
{
	bool longer = type == CAP_NOTIFY || type == CAP_WINDOW;
	uint8_t bytes = longer ? sizeof(struct capability) : offsetof(struct capability, last);
	const struct capability capability = { CAPABILITY_VENDOR, 0, bytes, (uint8_t)type, 0, { 0 }, offset, length, 0 };

	return pci_function_add_capability(function, &capability, capability.bytes);
}

static void describe(struct virtio_pci *virtio, const struct virtio_kind *kind, uint64_t bar)
{
	const struct pci_identity identity = { VIRTIO_VENDOR, (uint16_t)(MODERN_DEVICE + kind->id), VIRTIO_VENDOR,
					       0x1100, kind->class_revision };
	struct pci_function *function = &virtio->function;

	pci_function_init(function, &identity);
	pci_function_set_bar(function, bar, VIRTIO_BAR_BYTES);
	add_capability(function, CAP_COMMON, VIRTIO_BAR_COMMON, VIRTIO_COMMON_BYTES);
	add_capability(function, CAP_NOTIFY, VIRTIO_BAR_NOTIFY, 4);
	add_capability(function, CAP_ISR, VIRTIO_BAR_ISR, 1);
	add_capability(function, CAP_DEVICE, VIRTIO_BAR_DEVICE, kind->config_bytes);
	virtio->window = add_capability(function, CAP_WINDOW, 0, 0);
	function->writable[virtio->window + WINDOW_BAR] = 0xff;
	memset(&function->writable[virtio->window + WINDOW_OFFSET], 0xff, 12);
	function->memory = &bar_ops;
	function->device = virtio;
	function->before_read = before_config_read;
	function->after_write = after_config_write;
}

int virtio_pci_init(struct virtio_pci *virtio, const struct virtio_kind *kind, void *device,
		    const struct virtio_place *place, struct vmm_error *err)
{
	const struct wires *wires = place->wires;
	int rc;

	*virtio = (struct virtio_pci){ .kind = kind, .device = device, .wires = *wires };
	virtio->common.features = kind->features | VIRTIO_F_VERSION_1;
	virtio->common.queue_count = kind->queues;
	virtio->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (virtio->doorbell < 0)
		return error_set(err, errno, "eventfd for a doorbell: %s", strerror(errno));
	for (uint32_t i = 0; i < VIRTIO_MAX_QUEUES; i++)
		virtio->common.queues[i].memory = place->memory;
	describe(virtio, kind, place->bar);
	rc = msix_init(&virtio->msix, &virtio->function, wires, place->first_msi_slot, kind->queues + 1,
		       VIRTIO_BAR_MSIX, err);
	if (rc)
		return rc;
	virtio->common.vectors = virtio->msix.count;
	reset(virtio);
	if (!pci_add(place->pci, place->number, &virtio->function))
		return error_set(err, EBUSY, "PCI device number %u is taken or too high", place->number);
	return wires->watch(wires->machine, virtio->doorbell, doorbell_ready, virtio, err);
}

void virtio_pci_deinit(struct virtio_pci *virtio)
{
	msix_deinit(&virtio->msix);
	if (virtio->doorbell >= 0)
		close(virtio->doorbell);
	virtio->doorbell = -1;
}

void virtio_pci_save(const struct virtio_pci *virtio, struct virtio_pci_state *ret)
{
	*ret = (struct virtio_pci_state){
		.registers = virtio->common.registers, .msix = virtio->msix.state, .config = virtio->function.config,
	};
	for (uint32_t i = 0; i < VIRTIO_MAX_QUEUES; i++)
		ret->queues[i] = virtio->common.queues[i].state;
}

int virtio_pci_restore(struct virtio_pci *virtio, const struct virtio_pci_state *state, struct vmm_error *err)
{
	/* Capabilities and identity stay the machine's. */
	pci_function_write(&virtio->function, 0, state->config.bytes, PCI_CONFIG_BYTES);
	virtio->common.registers = state->registers;
	virtio->msix.state = state->msix;
	virtio->msix.state.pending &= (1ULL << virtio->msix.count) - 1;
	for (uint32_t i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		struct virtqueue *queue = &virtio->common.queues[i];
		int rc;

		queue->state = state->queues[i];
		rc = queue->state.enabled ? virtqueue_enable(queue, err) : 0;
		if (rc)
			return rc;
	}
	move_doorbell(virtio);
	return msix_update(&virtio->msix, err);
}
