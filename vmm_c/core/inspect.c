// SPDX-License-Identifier: GPL-2.0-only
/* Looking into a machine: registers, times, statistics, memory. */
#include <errno.h>
#include <string.h>

#include "stats.h"
#include "thread_times.h"
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
	rc = vcpu_registers(&vm->vcpus[cpu].vcpu, ret, err);
	release(vm, paused);
	return rc;
}

int vmm_times(struct vmm *vm, uint32_t cpu, struct vmm_times *ret, struct vmm_error *err)
{
	struct vcpu_thread *thread;
	int rc = check_cpu(vm, cpu, err);

	if (rc)
		return rc;
	thread = &vm->vcpus[cpu];
	pthread_mutex_lock(&vm->gate.lock);
	*ret = thread->times;
	if (thread->tid)
		rc = thread_times(thread->thread, thread->tid, ret);
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
	rc = stats_read(vm->vcpus[cpu].vcpu.fd, ret, capacity, err);
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
