// SPDX-License-Identifier: GPL-2.0-only
/* What comes out of the guest, and what goes in: console, channel, and what the host has to say. */
#include <stdio.h>

#include "vm.h"

size_t vmm_send(struct vmm *vm, const void *data, size_t bytes)
{
	size_t n;

	pthread_mutex_lock(&vm->device_lock);
	n = virtio_console_send(&vm->devices.console, data, bytes);
	pthread_mutex_unlock(&vm->device_lock);
	return n;
}

size_t vmm_type(struct vmm *vm, const void *data, size_t bytes)
{
	size_t n;

	pthread_mutex_lock(&vm->device_lock);
	n = serial_receive(&vm->devices.serial, data, bytes);
	pthread_mutex_unlock(&vm->device_lock);
	return n;
}

static void report(struct vmm *vm, const struct sink *sink, struct vmm_output *ret)
{
	pthread_mutex_lock(&vm->device_lock);
	*ret = (struct vmm_output){ .written = sink->written, .dropped = sink->dropped, .error = sink->error };
	pthread_mutex_unlock(&vm->device_lock);
}

void vmm_console_output(struct vmm *vm, struct vmm_output *ret)
{
	report(vm, &vm->devices.console_out, ret);
}

void vmm_channel_output(struct vmm *vm, struct vmm_output *ret)
{
	report(vm, &vm->devices.channel_out, ret);
}

void vmm_warnings(struct vmm *vm, char *ret, size_t bytes)
{
	const struct vmm_error *broken = &vm->devices.console.virtio.error;

	pthread_mutex_lock(&vm->device_lock);
	snprintf(ret, bytes, "%s%s%s", vm->warnings.text, broken->code ? "virtio console: " : "",
		 broken->code ? broken->text : "");
	pthread_mutex_unlock(&vm->device_lock);
}
