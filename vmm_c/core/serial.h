// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 16550A: the kernel's console. The transmitter is always empty. Output is gathered into lines,
 * as one host write for each byte would cost more than the guest's exit. Registers: National
 * Semiconductor PC16550D data sheet.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "fifo.h"
#include "sink.h"
#include "wires.h"

#define SERIAL_PORT 0x3f8
#define SERIAL_PORTS 8
#define SERIAL_IRQ 4
#define SERIAL_LINE_BYTES 512

struct serial_state {
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t scr;
	uint8_t divisor[2];
	uint8_t overrun; /* the LSR bit, until read */
	uint8_t thr_empty; /* an unanswered "transmitter empty" interrupt */
	uint8_t line; /* level of the interrupt line */
	struct fifo input;
};

struct serial {
	struct serial_state state;
	struct sink *out;
	int irq; /* eventfd, owned */
	uint32_t used;
	uint8_t text[SERIAL_LINE_BYTES]; /* output since the last flush */
};

extern const struct bus_ops serial_ops;

int serial_init(struct serial *serial, const struct wires *wires, struct sink *out, struct vmm_error *err);
/* Flushes. Safe after a serial_init that failed. */
void serial_deinit(struct serial *serial);
/* Type at the guest; gives how many bytes fit. */
size_t serial_receive(struct serial *serial, const uint8_t *data, size_t bytes);
/* Write an unfinished line; to be called when the machine ended or is saved. */
void serial_flush(struct serial *serial);
void serial_save(struct serial *serial, struct serial_state *ret);
void serial_restore(struct serial *serial, const struct serial_state *state);
