// SPDX-License-Identifier: GPL-2.0-only
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>


static void serve_port(struct vmm *vm, struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	pthread_mutex_lock(&vm->device_lock);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(&vm->devices.ports, run->io.port, data, run->io.size);
		else
			bus_read(&vm->devices.ports, run->io.port, data, run->io.size);
	}
	pthread_mutex_unlock(&vm->device_lock);
}

static void serve_mmio(struct vmm *vm, struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	pthread_mutex_lock(&vm->device_lock);
	if (run->mmio.is_write)
		bus_write(&vm->devices.mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(&vm->devices.mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	pthread_mutex_unlock(&vm->device_lock);
}

/* "rip 0x..., bytes .. .." as far as KVM says. */
static void describe_place(struct vcpu *vcpu, char *ret, size_t bytes)
{
	const struct kvm_run *run = vcpu->run;
	struct vmm_registers registers;
	struct vmm_error err;
	int n;

	if (vcpu_registers(vcpu, &registers, &err)) {
		snprintf(ret, bytes, "its registers are unknown");
		return;
	}
	n = snprintf(ret, bytes, "rip %#" PRIx64 ", cr3 %#" PRIx64, registers.rip, registers.cr3);
	if (run->exit_reason != KVM_EXIT_INTERNAL_ERROR || run->emulation_failure.ndata < 1 ||
	    run->emulation_failure.suberror != KVM_INTERNAL_ERROR_EMULATION ||
	    !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return;
	n += snprintf(ret + n, bytes - (size_t)n, ", instruction");
	for (uint32_t i = 0; i < run->emulation_failure.insn_size && i < sizeof(run->emulation_failure.insn_bytes); i++)
		n += snprintf(ret + n, bytes - (size_t)n, " %02x", run->emulation_failure.insn_bytes[i]);
}

static const char *const suberrors[] = {
	[KVM_INTERNAL_ERROR_EMULATION] = "an instruction it cannot emulate",
	[KVM_INTERNAL_ERROR_SIMUL_EX] = "simultaneous exceptions",
	[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit while an event was delivered",
	[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "an exit of the CPU it does not know",
};

static void end_internal_error(struct vmm *vm, struct vcpu *vcpu)
{
	uint32_t suberror = vcpu->run->internal.suberror;
	const char *name = suberror < sizeof(suberrors) / sizeof(suberrors[0]) ? suberrors[suberror] : NULL;
	char place[160];

	describe_place(vcpu, place, sizeof(place));
	vm_end(vm, VMM_INTERNAL_ERROR, (int32_t)suberror, (int32_t)vcpu->index,
	       "KVM gave up on vCPU %u: %s (suberror %u); %s", vcpu->index, name ? name : "no reason it names",
	       suberror, place);
}

static void end_fail_entry(struct vmm *vm, struct vcpu *vcpu)
{
	uint64_t reason = vcpu->run->fail_entry.hardware_entry_failure_reason;

	vm_end(vm, VMM_FAIL_ENTRY, (int32_t)reason, (int32_t)vcpu->index,
	       "the host CPU refused to enter vCPU %u: hardware reason %#" PRIx64, vcpu->index, reason);
}

static void end_system_event(struct vmm *vm, struct vcpu *vcpu)
{
	uint32_t type = vcpu->run->system_event.type;
	bool off = type == KVM_SYSTEM_EVENT_SHUTDOWN;

	vm_end(vm, off ? VMM_POWER_OFF : VMM_RESET, 0, (int32_t)vcpu->index, "system event %u on vCPU %u", type,
	       vcpu->index);
}

static void serve_exit(struct vmm *vm, struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		serve_port(vm, vcpu);
		break;
	case KVM_EXIT_MMIO:
		serve_mmio(vm, vcpu);
		break;
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_SHUTDOWN:
		vm_end(vm, VMM_TRIPLE_FAULT, 0, (int32_t)vcpu->index, "triple fault on vCPU %u", vcpu->index);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		end_internal_error(vm, vcpu);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		end_fail_entry(vm, vcpu);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		end_system_event(vm, vcpu);
		break;
	default:
		vm_end(vm, VMM_HOST_ERROR, ENOSYS, (int32_t)vcpu->index, "vCPU %u: KVM_EXIT %u, which is not expected",
		       vcpu->index, vcpu->run->exit_reason);
	}
}

/* Take our signal off the thread's queue: it stays blocked and pending after it ended a KVM_RUN. */
static void take_signals(void)
{
	const struct timespec now = { 0, 0 };
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, vcpu_signal());
	while (sigtimedwait(&kick, NULL, &now) > 0)
		;
}

static void serve_error(struct vmm *vm, struct vcpu *vcpu, int code)
{
	if (code == EINTR)
		take_signals();
	else if (code != EAGAIN) /* which an INIT or SIPI gives a waiting vCPU */
		vm_end(vm, VMM_HOST_ERROR, code, (int32_t)vcpu->index, "KVM_RUN of vCPU %u: %s%s", vcpu->index,
		       strerror(code), code == EFAULT ? "; is the host out of memory or large pages?" : "");
}

/* What the last exit asked for is in the guest's registers only once KVM ran again, here without the guest. */
static void finish_exit(struct vmm *vm, struct vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1;
	while (ioctl(vcpu->fd, KVM_RUN, 0) == 0)
		serve_exit(vm, vcpu);
	vcpu->run->immediate_exit = 0;
}

/*
 * Whoever closes the gate looks for vCPUs in the guest afterwards, to kick them; here it is the other way round. So one
 * of both sees what the other did, and a vCPU that is not seen finds the gate closed.
 */
static void run_guest(struct vmm *vm, struct vcpu *vcpu)
{
	int rc = 0, code = 0;
	bool closed;

	atomic_store(&vcpu->in_guest, true);
	closed = atomic_load(&vm->gate.closed);
	if (!closed) {
		rc = ioctl(vcpu->fd, KVM_RUN, 0);
		code = errno;
	}
	atomic_store(&vcpu->in_guest, false);
	if (rc < 0)
		serve_error(vm, vcpu, code);
	else if (!closed)
		serve_exit(vm, vcpu);
}

void run_vcpu(struct vmm *vm, struct vcpu *vcpu)
{
	struct gate *gate = &vm->gate;
	bool closed = false;

	if (!gate_enter(gate))
		return;
	do {
		run_guest(vm, vcpu);
		closed = atomic_load_explicit(&gate->closed, memory_order_acquire);
		if (closed)
			finish_exit(vm, vcpu);
	} while (!closed || gate_pass(gate));
}
