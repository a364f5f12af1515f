// SPDX-License-Identifier: GPL-2.0-only
#include "vm.h"

#include <stdarg.h>
#include <stdio.h>

void vm_warn(struct vmm *vm, const struct vmm_error *err)
{
	struct warnings *warnings = &vm->warnings;
	size_t room;
	int n;

	pthread_mutex_lock(&vm->device_lock);
	room = sizeof(warnings->text) - warnings->used;
	n = snprintf(warnings->text + warnings->used, room, "%s\n", err->text);
	if (n > 0)
		warnings->used += (size_t)n < room ? (uint32_t)n : (uint32_t)room - 1;
	pthread_mutex_unlock(&vm->device_lock);
}

void vm_end(struct vmm *vm, enum vmm_reason reason, int32_t code, int32_t cpu, const char *format, ...)
{
	struct vmm_exit exit = { .reason = reason, .code = code, .cpu = cpu };
	va_list args;

	va_start(args, format);
	vsnprintf(exit.text, sizeof(exit.text), format, args);
	va_end(args);
	gate_end(&vm->gate, &exit);
	supervisor_wake(&vm->supervisor);
}

static int connect_line(void *machine, uint32_t gsi, int eventfd, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_connect_line(&vm->irqs, gsi, eventfd, err);
}

static int connect_msi(void *machine, uint32_t slot, uint64_t address, uint32_t data, int eventfd,
		       struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_connect_msi(&vm->irqs, slot, address, data, eventfd, err);
}

static int disconnect_msi(void *machine, uint32_t slot, int eventfd, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_disconnect_msi(&vm->irqs, slot, eventfd, err);
}

static int set_doorbell(void *machine, uint64_t gpa, int eventfd, bool on, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return irq_set_doorbell(&vm->irqs, gpa, eventfd, on, err);
}

static int watch(void *machine, int fd, void (*ready)(void *device), void *device, struct vmm_error *err)
{
	struct vmm *vm = machine;

	return supervisor_watch(&vm->supervisor, fd, ready, device, err);
}

static void request_end(void *machine, int reset)
{
	vm_end(machine, reset ? VMM_RESET : VMM_POWER_OFF, 0, -1, "the guest %s",
	       reset ? "asked for a reset" : "turned itself off");
}

void vm_connect_devices(struct vmm *vm)
{
	vm->wires = (struct wires){ vm, connect_line, connect_msi, disconnect_msi, set_doorbell, watch, request_end };
}

static void drain(void *sink)
{
	sink_drain(sink);
}

static int watch_output(struct vmm *vm, struct sink *sink, struct vmm_error *err)
{
	int fd = sink_poll_fd(sink);

	return fd < 0 ? 0 : supervisor_watch_writable(&vm->supervisor, fd, drain, sink, err);
}

int vm_watch_output(struct vmm *vm, struct vmm_error *err)
{
	int rc = watch_output(vm, &vm->devices.console_out, err);

	return rc ? rc : watch_output(vm, &vm->devices.channel_out, err);
}
