// SPDX-License-Identifier: GPL-2.0-only
/*
 * The modern PCI transport of virtio (virtio 1.2, 4.1) in one memory BAR. All queues share one
 * doorbell address. A driver that leaves MSI-X disabled gets no interrupts: there is no INTx, which
 * Linux reports when it probes the device.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "msix.h"
#include "pci.h"
#include "virtio_common.h"
#include "wires.h"

#define VIRTIO_VENDOR 0x1af4

/* Parts of the BAR. */
#define VIRTIO_BAR_BYTES 0x4000U
#define VIRTIO_BAR_COMMON 0x0000U
#define VIRTIO_BAR_ISR 0x0100U
#define VIRTIO_BAR_DEVICE 0x0200U
#define VIRTIO_BAR_MSIX 0x1000U
#define VIRTIO_BAR_NOTIFY 0x2000U

/* What kind of device is behind the transport. */
struct virtio_kind {
	uint16_t id;
	uint32_t class_revision;
	uint64_t features; /* VIRTIO_F_VERSION_1 is added */
	uint32_t queues;
	const void *config; /* what the driver reads, always the same */
	uint32_t config_bytes;
	/* The driver added buffers, or is ready (DRIVER_OK): look at all queues. */
	void (*notify)(void *device);
	void (*reset)(void *device);
};

struct virtio_pci_state {
	struct virtio_registers registers;
	struct virtqueue_state queues[VIRTIO_MAX_QUEUES];
	struct msix_state msix;
	struct pci_config config;
};

struct virtio_pci {
	struct virtio_common common;
	struct msix msix;
	struct pci_function function;
	const struct virtio_kind *kind;
	void *device;
	struct wires wires;
	uint8_t window; /* capability for BAR accesses by config space */
	int doorbell; /* eventfd, owned */
	uint64_t doorbell_at; /* where it is installed; 0 nowhere */
	struct vmm_error error; /* the first fault, the guest's or the host's */
};

/* What makes one device of a machine. */
struct virtio_place {
	struct pci *pci;
	uint32_t number; /* PCI device number */
	uint64_t bar;
	uint32_t first_msi_slot; /* it uses queues + 1 of them */
	const struct memory *memory;
	const struct wires *wires;
};

int virtio_pci_init(struct virtio_pci *virtio, const struct virtio_kind *kind, void *device,
		    const struct virtio_place *place, struct vmm_error *err);
/* Safe after a virtio_pci_init that failed. */
void virtio_pci_deinit(struct virtio_pci *virtio);
/* Is the driver up, and its rings sound? */
bool virtio_pci_running(const struct virtio_pci *virtio);
/* Take a buffer, 1 or 0; a broken ring breaks the device and counts as empty. */
int virtio_pci_pop(struct virtio_pci *virtio, uint32_t queue, struct virtqueue_chain *ret);
/* Tell the driver that buffers of this queue came back, if it wants to know. */
void virtio_pci_interrupt(struct virtio_pci *virtio, uint32_t queue);
/* What the driver made available is served now, rung for or not. */
void virtio_pci_serve(struct virtio_pci *virtio);
/* Have notify called again soon, from the supervisor. */
void virtio_pci_ring(struct virtio_pci *virtio);
/* Stop the device until its driver resets it, for a reason that is kept if it is the first. */
__attribute__((format(printf, 2, 3))) void virtio_pci_break(struct virtio_pci *virtio, const char *format, ...);
void virtio_pci_save(const struct virtio_pci *virtio, struct virtio_pci_state *ret);
/* -EINVAL for a state that no machine with this memory can be in. */
int virtio_pci_restore(struct virtio_pci *virtio, const struct virtio_pci_state *state, struct vmm_error *err);
