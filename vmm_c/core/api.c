// SPDX-License-Identifier: GPL-2.0-only
/* Looking into a machine, and talking to it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stats.h"
#include "vm.h"

uint32_t vmm_cpus(const struct vmm *vm)
{
	return vm->cpus;
}

static int check_cpu(const struct vmm *vm, int64_t cpu, struct vmm_error *err)
{
	if (cpu >= 0 && cpu < vm->cpus)
		return 0;
	return error_set(err, EINVAL, "vCPU %lld: the machine has 0 to %u", (long long)cpu, vm->cpus - 1);
}

/*
 * KVM answers for a vCPU only while nobody is in its KVM_RUN: pause, or wait for the end that is
 * coming. Gives whether release has to let the machine go on.
 */
static bool hold(struct vmm *vm)
{
	struct vmm_error unused;
	struct vmm_exit exit;
	bool paused = vmm_pause(vm, &unused) == 0;

	if (!paused)
		vmm_wait(vm, -1, &exit);
	return paused;
}

static void release(struct vmm *vm, bool paused)
{
	if (paused)
		vmm_resume(vm);
}

int vmm_registers(struct vmm *vm, uint32_t cpu, struct vmm_registers *ret, struct vmm_error *err)
{
	int rc = check_cpu(vm, cpu, err);
	bool paused;

	if (rc)
		return rc;
	paused = hold(vm);
	rc = vcpu_registers(&vm->vcpus[cpu], ret, err);
	release(vm, paused);
	return rc;
}

int vmm_times(struct vmm *vm, uint32_t cpu, struct vmm_times *ret, struct vmm_error *err)
{
	struct vcpu *vcpu;
	int rc = check_cpu(vm, cpu, err);

	if (rc)
		return rc;
	vcpu = &vm->vcpus[cpu];
	pthread_mutex_lock(&vm->gate.lock);
	*ret = vcpu->times;
	if (vcpu->tid)
		rc = vcpu_times(vcpu, ret);
	pthread_mutex_unlock(&vm->gate.lock);
	return rc ? error_set(err, -rc, "time of vCPU %u's thread: %s", cpu, strerror(-rc)) : 0;
}

int vmm_stats(struct vmm *vm, int32_t cpu, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err)
{
	int rc = cpu == -1 ? 0 : check_cpu(vm, cpu, err);
	bool paused;

	if (rc || cpu == -1)
		return rc ? rc : stats_read(vm->kvm.vm, ret, capacity, err);
	paused = hold(vm);
	rc = stats_read(vm->vcpus[cpu].fd, ret, capacity, err);
	release(vm, paused);
	return rc;
}

int vmm_memory_fd(const struct vmm *vm)
{
	return vm->memory.fd;
}

uint32_t vmm_pieces(const struct vmm *vm, struct vmm_piece *ret, uint32_t capacity)
{
	uint64_t offset = 0;

	for (uint32_t i = 0; i < vm->memory.count; i++) {
		const struct memory_range *range = &vm->memory.ranges[i];

		if (i < capacity)
			ret[i] = (struct vmm_piece){ range->gpa, range->bytes, offset, range->node };
		offset += range->bytes;
	}
	return vm->memory.count;
}

int vmm_read(struct vmm *vm, uint64_t address, void *ret, uint64_t bytes, struct vmm_error *err)
{
	return memory_read(&vm->memory, address, ret, bytes, err);
}

int vmm_write(struct vmm *vm, uint64_t address, const void *data, uint64_t bytes, struct vmm_error *err)
{
	return memory_write(&vm->memory, address, data, bytes, err);
}

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
