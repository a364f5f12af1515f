// SPDX-License-Identifier: GPL-2.0-only
#include "serial.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FIFO_DEPTH 16 /* what a 16550A holds: drivers count it in loopback mode */

enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR }; /* registers; DATA and IER are the divisor with DLAB */

enum { IER_RDI = 0x01, IER_THRI = 0x02, IER_RLSI = 0x04, IER_ALL = 0x0f };
enum { IIR_NONE = 0x01, IIR_THRE = 0x02, IIR_RDA = 0x04, IIR_RLS = 0x06, IIR_TIMEOUT = 0x0c, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RECEIVER = 0x02, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_ALL = 0x1f };
enum { LSR_DATA = 0x01, LSR_OVERRUN = 0x02, LSR_EMPTY = 0x60 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

static uint32_t trigger_level(const struct serial_state *state)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return state->fcr & FCR_ENABLE ? levels[state->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority. */
static uint8_t interrupt_id(const struct serial_state *state)
{
	if (state->ier & IER_RLSI && state->overrun)
		return IIR_RLS;
	if (state->ier & IER_RDI && state->input.count)
		return state->input.count >= trigger_level(state) ? IIR_RDA : IIR_TIMEOUT;
	if (state->ier & IER_THRI && state->thr_empty)
		return IIR_THRE;
	return IIR_NONE;
}

/* On a PC the interrupt reaches the controller through OUT2, which loopback mode disconnects. */
static void update_line(struct serial *serial)
{
	struct serial_state *state = &serial->state;
	bool connected = state->mcr & MCR_OUT2 && !(state->mcr & MCR_LOOP);
	bool line = connected && interrupt_id(state) != IIR_NONE;

	if (line && !state->line)
		eventfd_write(serial->irq, 1);
	state->line = line;
}

void serial_flush(struct serial *serial)
{
	if (serial->used)
		sink_write(serial->out, serial->text, serial->used);
	serial->used = 0;
}

static void receive_looped(struct serial_state *state, uint8_t byte)
{
	if (state->input.count < FIFO_DEPTH)
		fifo_put(&state->input, &byte, 1);
	else
		state->overrun = LSR_OVERRUN;
}

static void transmit(struct serial *serial, uint8_t byte)
{
	serial->state.thr_empty = 1;
	if (serial->state.mcr & MCR_LOOP) {
		receive_looped(&serial->state, byte);
		return;
	}
	serial->text[serial->used++] = byte;
	if (byte == '\n' || serial->used == sizeof(serial->text))
		serial_flush(serial);
}

/* Terminal output and printk both end with a write of IER: the prompt without a newline is complete. */
static void write_ier(struct serial *serial, uint8_t value)
{
	if (value & IER_THRI && !(serial->state.ier & IER_THRI))
		serial->state.thr_empty = 1;
	serial->state.ier = value & IER_ALL;
	serial_flush(serial);
}

static void write_fcr(struct serial_state *state, uint8_t value)
{
	if (value & FCR_CLEAR_RECEIVER || (value ^ state->fcr) & FCR_ENABLE)
		state->input.count = 0;
	state->fcr = value & FCR_KEPT;
}

static void write_register(struct serial *serial, uint64_t reg, uint8_t value)
{
	struct serial_state *state = &serial->state;

	if (reg <= IER && state->lcr & LCR_DLAB)
		state->divisor[reg] = value;
	else if (reg == DATA)
		transmit(serial, value);
	else if (reg == IER)
		write_ier(serial, value);
	else if (reg == IIR_FCR)
		write_fcr(state, value);
	else if (reg == LCR)
		state->lcr = value;
	else if (reg == MCR)
		state->mcr = value & MCR_ALL;
	else if (reg == SCR)
		state->scr = value;
	update_line(serial);
}

static uint8_t read_iir(struct serial_state *state)
{
	uint8_t id = interrupt_id(state);

	if (id == IIR_THRE)
		state->thr_empty = 0;
	return (uint8_t)(id | (state->fcr & FCR_ENABLE ? IIR_FIFO : 0));
}

static uint8_t read_lsr(struct serial_state *state)
{
	uint8_t value = (uint8_t)(LSR_EMPTY | state->overrun | (state->input.count ? LSR_DATA : 0));

	state->overrun = 0;
	return value;
}

/* A terminal is always there and ready; in loopback mode the outputs of MCR come back. */
static uint8_t read_msr(const struct serial_state *state)
{
	uint8_t mcr = state->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t read_register(struct serial_state *state, uint64_t reg)
{
	uint8_t value = 0;

	if (reg <= IER && state->lcr & LCR_DLAB)
		return state->divisor[reg];
	switch (reg) {
	case DATA:
		fifo_get(&state->input, &value, 1);
		return value;
	case IER:
		return state->ier;
	case IIR_FCR:
		return read_iir(state);
	case LCR:
		return state->lcr;
	case MCR:
		return state->mcr;
	case LSR:
		return read_lsr(state);
	case MSR:
		return read_msr(state);
	default:
		return state->scr;
	}
}

/* Registers are a byte wide; a wider access is one to each in turn. */
static void serial_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct serial *serial = device;

	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = read_register(&serial->state, (offset + i) % SERIAL_PORTS);
	update_line(serial);
}

static void serial_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		write_register(device, (offset + i) % SERIAL_PORTS, ((const uint8_t *)data)[i]);
}

const struct bus_ops serial_ops = { serial_read, serial_write };

int serial_init(struct serial *serial, const struct wires *wires, struct sink *out, struct vmm_error *err)
{
	*serial = (struct serial){ .out = out, .irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (serial->irq < 0)
		return error_set(err, errno, "eventfd for the serial port: %s", strerror(errno));
	serial->state.divisor[0] = 1; /* 115200 baud */
	return wires->connect_line(wires->machine, SERIAL_IRQ, serial->irq, err);
}

void serial_deinit(struct serial *serial)
{
	if (serial->irq < 0)
		return;
	serial_flush(serial);
	close(serial->irq);
	serial->irq = -1;
}

size_t serial_receive(struct serial *serial, const uint8_t *data, size_t bytes)
{
	size_t n = serial->state.mcr & MCR_LOOP ? 0 : fifo_put(&serial->state.input, data, bytes);

	update_line(serial);
	return n;
}

void serial_save(struct serial *serial, struct serial_state *ret)
{
	serial_flush(serial);
	*ret = serial->state;
}

/* An edge given before the save is in the saved interrupt controller: the line keeps its level. */
void serial_restore(struct serial *serial, const struct serial_state *state)
{
	serial->state = *state;
	serial->state.input.head %= FIFO_BYTES;
	if (serial->state.input.count > FIFO_BYTES)
		serial->state.input.count = 0;
	update_line(serial);
}
