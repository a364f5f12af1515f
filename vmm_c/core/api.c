// SPDX-License-Identifier: GPL-2.0-only
/* Looking into a machine, and talking to it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "vm.h"

#define MAX_NAME 256
#define MAX_STATS 1024

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

static int read_exactly(int fd, void *ret, size_t bytes, uint64_t offset, struct vmm_error *err)
{
	ssize_t n = pread(fd, ret, bytes, (off_t)offset);

	if (n == (ssize_t)bytes)
		return 0;
	return error_set(err, n < 0 ? errno : EIO, "reading KVM's statistics: %s",
			 n < 0 ? strerror(errno) : "fewer bytes than announced");
}

/* A descriptor is followed by its name, so the table's step depends on the header. */
static int read_stat(int fd, const struct kvm_stats_header *header, uint32_t i, struct vmm_stat *ret, uint16_t *size,
		    struct vmm_error *err)
{
	uint64_t step = sizeof(struct kvm_stats_desc) + header->name_size;
	uint8_t bytes[sizeof(struct kvm_stats_desc) + MAX_NAME];
	struct kvm_stats_desc desc;
	int rc = read_exactly(fd, bytes, step, header->desc_offset + i * step, err);

	if (rc)
		return rc;
	memcpy(&desc, bytes, sizeof(desc));
	*ret = (struct vmm_stat){ 0 };
	memcpy(ret->name, bytes + sizeof(desc), MIN(header->name_size, sizeof(ret->name) - 1));
	*size = desc.size;
	return read_exactly(fd, &ret->value, sizeof(ret->value), header->data_offset + desc.offset, err);
}

/* Histograms have more than one number and are left out. */
static int read_stats(int fd, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err)
{
	struct kvm_stats_header header;
	uint32_t count = 0;
	int rc = read_exactly(fd, &header, sizeof(header), 0, err);

	if (rc == 0 && (header.name_size == 0 || header.name_size > MAX_NAME || header.num_desc > MAX_STATS))
		rc = error_set(err, EPROTO, "KVM's statistics: %u names of %u bytes", header.num_desc, header.name_size);
	for (uint32_t i = 0; rc == 0 && i < header.num_desc; i++) {
		struct vmm_stat stat;
		uint16_t size;

		rc = read_stat(fd, &header, i, &stat, &size, err);
		if (rc == 0 && size == 1 && count++ < capacity)
			ret[count - 1] = stat;
	}
	return rc ? rc : (int)count;
}

/* Up to capacity single numbers of a vCPU's or a VM's fd (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD). */
static int stats_read(int fd, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err)
{
	int stats = kvm_ioctl(fd, KVM_GET_STATS_FD, NULL, "KVM_GET_STATS_FD", err);
	int rc;

	if (stats < 0)
		return stats;
	rc = read_stats(stats, ret, capacity, err);
	close(stats);
	return rc;
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

uint32_t vmm_pieces(const struct vmm *vm, struct vmm_piece *ret, uint32_t capacity)
{
	for (uint32_t i = 0; i < vm->memory.count && i < capacity; i++) {
		const struct memory_range *range = &vm->memory.ranges[i];

		ret[i] = (struct vmm_piece){ range->gpa, range->bytes, range->host, range->node };
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
