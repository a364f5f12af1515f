// SPDX-License-Identifier: GPL-2.0-only
#include "lifecycle.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run.h"
#include "thread_times.h"

/* With the gate's lock held and no stop under way: every thread is there to be signalled. */
static void kick_locked(struct vmm *vm)
{
	for (uint32_t i = 0; i < vm->threads; i++)
		if (atomic_load(&vm->vcpus[i].vcpu.in_guest))
			pthread_kill(vm->vcpus[i].thread, vcpu_signal());
}

static void *vcpu_main(void *arg)
{
	struct vcpu_thread *self = arg;
	struct gate *gate = &self->vm->gate;
	char name[16];

	snprintf(name, sizeof(name), "vcpu-%u", self->vcpu.index);
	pthread_setname_np(pthread_self(), name);
	pthread_mutex_lock(&gate->lock);
	self->tid = gettid();
	pthread_mutex_unlock(&gate->lock);
	run_vcpu(self->vm, &self->vcpu);
	pthread_mutex_lock(&gate->lock);
	thread_times(self->thread, self->tid, &self->times);
	self->tid = 0;
	pthread_mutex_unlock(&gate->lock);
	return NULL;
}

static void lock_devices(void *machine)
{
	pthread_mutex_lock(&((struct vmm *)machine)->device_lock);
}

static void unlock_devices(void *machine)
{
	pthread_mutex_unlock(&((struct vmm *)machine)->device_lock);
}

static void on_deadline(void *machine)
{
	struct vmm *vm = machine;

	vm_end(vm, VMM_DEADLINE, 0, -1, "the machine ran for %llu ms of host time, its limit",
	       (unsigned long long)vm->deadline_ms);
}

static void on_failure(void *machine, const struct vmm_error *err)
{
	vm_end(machine, VMM_HOST_ERROR, err->code, -1, "%s", err->text);
}

static const struct supervisor_ops supervisor_ops = { lock_devices, unlock_devices, on_deadline, on_failure };

/* Once nobody passes the gate any more one kick is enough: whoever is in the guest leaves it. */
static void collect_vcpus(struct vmm *vm)
{
	pthread_mutex_lock(&vm->gate.lock);
	while (vm->gate.starting)
		pthread_cond_wait(&vm->gate.changed, &vm->gate.lock);
	kick_locked(vm);
	pthread_mutex_unlock(&vm->gate.lock);
	for (uint32_t i = 0; i < vm->threads; i++)
		pthread_join(vm->vcpus[i].thread, NULL);
}

/* For a reader that is behind, in all; who does not read by then reads never. */
#define LAST_OUTPUT_MS 250

static void write_rest(struct vmm *vm, struct sink *sink, const struct timespec *deadline)
{
	struct pollfd reader = { .events = POLLOUT };
	struct timespec now;
	int64_t ms;

	do {
		lock_devices(vm);
		reader.fd = sink_drain(sink) ? sink_poll_fd(sink) : -1;
		unlock_devices(vm);
		clock_gettime(CLOCK_MONOTONIC, &now);
		ms = (deadline->tv_sec - now.tv_sec) * 1000 + (deadline->tv_nsec - now.tv_nsec) / 1000000;
	} while (reader.fd >= 0 && ms > 0 && poll(&reader, 1, (int)ms) > 0);
	lock_devices(vm);
	sink_drop(sink);
	unlock_devices(vm);
}

static void write_last_output(struct vmm *vm)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_nsec += LAST_OUTPUT_MS * 1000000L; /* more than a second's is as good here */
	write_rest(vm, &vm->devices.console_out, &deadline);
	write_rest(vm, &vm->devices.channel_out, &deadline);
}

static void *supervisor_main(void *arg)
{
	struct vmm *vm = arg;

	pthread_setname_np(pthread_self(), "vmm-supervisor");
	supervisor_loop(&vm->supervisor, &supervisor_ops, vm);
	collect_vcpus(vm);
	lock_devices(vm);
	virtio_pci_serve(&vm->devices.console.virtio); /* the last words: their doorbell may have lost the race */
	serial_flush(&vm->devices.serial);
	unlock_devices(vm);
	write_last_output(vm);
	gate_mark_ended(&vm->gate);
	return NULL;
}

static int create_threads(struct vmm *vm, struct vmm_error *err)
{
	int rc = pthread_create(&vm->supervisor_thread, NULL, supervisor_main, vm);

	if (rc)
		return error_set(err, rc, "creating the supervisor's thread: %s", strerror(rc));
	pthread_mutex_lock(&vm->gate.lock);
	vm->started = true;
	pthread_mutex_unlock(&vm->gate.lock);
	for (uint32_t i = 0; i < vm->cpus; i++) {
		rc = pthread_create(&vm->vcpus[i].thread, NULL, vcpu_main, &vm->vcpus[i]);
		if (rc)
			return error_set(err, rc, "creating the thread of vCPU %u of %u: %s", i, vm->cpus, strerror(rc));
		pthread_mutex_lock(&vm->gate.lock);
		vm->threads++;
		pthread_mutex_unlock(&vm->gate.lock);
	}
	return 0;
}

/* Signals are for the caller's threads: ours are born with all of them blocked. */
static int create_deaf_threads(struct vmm *vm, struct vmm_error *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = create_threads(vm, err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void pin_thread(struct vmm *vm, uint32_t i)
{
	struct vmm_error refused;
	cpu_set_t set;
	int rc;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)vm->pin[i], &set); /* no bit for a number it has not, which is refused */
	rc = pthread_setaffinity_np(vm->vcpus[i].thread, sizeof(set), &set);
	if (rc) {
		error_set(&refused, rc, "pinning vCPU %u to host CPU %d: %s", i, vm->pin[i], strerror(rc));
		vm_warn(vm, &refused);
	}
}

static bool set_fifo(struct vmm *vm, pthread_t thread, uint32_t priority)
{
	const struct sched_param param = { .sched_priority = (int)priority };
	struct vmm_error refused;
	int rc = pthread_setschedparam(thread, SCHED_FIFO, &param);

	if (rc) {
		error_set(&refused, rc, "SCHED_FIFO priority %u: %s", priority, strerror(rc));
		vm_warn(vm, &refused);
	}
	return rc == 0;
}

/* The supervisor goes before vCPUs: it serves them, and ends them. */
static void place_threads(struct vmm *vm)
{
	for (uint32_t i = 0; vm->pin && i < vm->cpus; i++)
		if (vm->pin[i] >= 0)
			pin_thread(vm, i);
	if (!vm->fifo_priority || !set_fifo(vm, vm->supervisor_thread, vm->fifo_priority + 1))
		return;
	for (uint32_t i = 0; i < vm->cpus; i++)
		if (!set_fifo(vm, vm->vcpus[i].thread, vm->fifo_priority))
			return;
}

static int begin_start(struct vmm *vm, struct vmm_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&vm->gate.lock);
	if (vm->started || vm->gate.starting || vm->gate.stopping)
		rc = error_set(err, EALREADY, "a machine can be started once");
	else
		vm->gate.starting = true;
	pthread_mutex_unlock(&vm->gate.lock);
	return rc;
}

static void finish_start(struct vmm *vm)
{
	pthread_mutex_lock(&vm->gate.lock);
	vm->gate.starting = false;
	vm->gate.ended = !vm->started; /* not even a supervisor */
	pthread_cond_broadcast(&vm->gate.changed);
	pthread_mutex_unlock(&vm->gate.lock);
}

int vmm_start(struct vmm *vm, struct vmm_error *err)
{
	int rc = begin_start(vm, err);

	if (rc)
		return rc;
	rc = create_deaf_threads(vm, err);
	if (rc == 0)
		place_threads(vm);
	if (rc == 0 && vm->deadline_ms)
		rc = supervisor_set_deadline(&vm->supervisor, vm->deadline_ms, err);
	if (rc)
		vm_end(vm, VMM_HOST_ERROR, err->code, -1, "%s", err->text);
	finish_start(vm);
	gate_release(&vm->gate); /* the hold of a machine that was not started */
	return rc;
}

int vmm_wait(struct vmm *vm, int64_t timeout_ms, struct vmm_exit *ret)
{
	return gate_wait(&vm->gate, timeout_ms, ret);
}

void vmm_stop(struct vmm *vm)
{
	vm_end(vm, VMM_STOPPED, 0, -1, "the machine was stopped");
	pthread_mutex_lock(&vm->gate.lock);
	if (!vm->started && !vm->gate.starting)
		vm->gate.ended = true; /* there is no supervisor to say so */
	pthread_cond_broadcast(&vm->gate.changed);
	pthread_mutex_unlock(&vm->gate.lock);
}

void lifecycle_end(struct vmm *vm)
{
	if (!vm->started)
		return;
	vmm_stop(vm);
	pthread_join(vm->supervisor_thread, NULL);
	vm->started = false;
}

/* vCPUs that wait for their holder count as out; those in the guest leave it on the kick. */
int vmm_pause(struct vmm *vm, struct vmm_error *err)
{
	struct gate *gate = &vm->gate;
	int rc = 0;

	pthread_mutex_lock(&gate->lock);
	gate->holds++;
	atomic_store(&gate->closed, true);
	if (!gate->stopping)
		kick_locked(vm);
	while (gate->inside && !gate->stopping)
		pthread_cond_wait(&gate->changed, &gate->lock);
	if (gate->stopping) {
		gate->holds--;
		rc = error_set(err, ESRCH, "the machine has ended: it cannot be paused");
	}
	pthread_mutex_unlock(&gate->lock);
	return rc;
}

void vmm_resume(struct vmm *vm)
{
	gate_release(&vm->gate);
}

void vmm_kick(struct vmm *vm)
{
	pthread_mutex_lock(&vm->gate.lock);
	if (!vm->gate.stopping)
		kick_locked(vm);
	pthread_mutex_unlock(&vm->gate.lock);
}
