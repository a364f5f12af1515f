// SPDX-License-Identifier: GPL-2.0-only
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <x86intrin.h>

#include "hash.h"
#include "memory_file.h"
#include "snapshot_file.h"
#include "vcpu_state.h"

#define MAGIC 0x50414e53525453ULL /* "STRSNAP" */
#define VERSION 3
#define CHIPS 3 /* the two PICs and the IO-APIC */

/* What a clone has to have in common with the machine it is made from. */
struct identity {
	uint64_t magic;
	uint32_t version;
	uint32_t flags;
	uint64_t state_bytes; /* of the whole file, as this build has it */
	uint64_t memory_bytes;
	uint64_t cpuid; /* hash of all vCPUs': host CPU, vendor, topology */
	uint64_t topology;
	uint64_t checksum; /* of all that follows this struct */
};

struct saved_machine {
	struct identity identity;
	struct kvm_irqchip chips[CHIPS];
	struct kvm_pit_state2 pit;
	struct clocks clocks;
	struct serial_state serial;
	struct power_state power;
	uint32_t pci_address;
	struct virtio_console_saved console;
	_Alignas(8) struct vcpu_state cpus[];
};

static size_t state_bytes(const struct vmm *vm)
{
	return sizeof(struct saved_machine) + vm->cpus * sizeof(struct vcpu_state);
}

static struct identity identify(const struct vmm *vm, const struct saved_machine *machine)
{
	const uint8_t *rest = (const uint8_t *)machine + sizeof(struct identity);

	return (struct identity){
		.magic = MAGIC,
		.version = VERSION,
		.flags = vm->flags & ~(uint32_t)SNAPSHOT_MEMORY_OPTIONS,
		.state_bytes = state_bytes(vm),
		.memory_bytes = vm->memory.bytes,
		.cpuid = vm->cpuid_hash,
		.topology = hash_bytes(0, &vm->topology, sizeof(vm->topology)),
		.checksum = hash_bytes(0, rest, state_bytes(vm) - sizeof(struct identity)),
	};
}

static int transfer_chips(const struct vmm *vm, struct saved_machine *machine, bool save, struct vmm_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < CHIPS && rc == 0; i++) {
		machine->chips[i].chip_id = i;
		rc = kvm_ioctl(vm->kvm.vm, save ? KVM_GET_IRQCHIP : KVM_SET_IRQCHIP, &machine->chips[i],
			       save ? "KVM_GET_IRQCHIP" : "KVM_SET_IRQCHIP", err);
	}
	return rc ? rc : kvm_ioctl(vm->kvm.vm, save ? KVM_GET_PIT2 : KVM_SET_PIT2, &machine->pit,
				   save ? "KVM_GET_PIT2" : "KVM_SET_PIT2", err);
}

static int read_clock(const struct vmm *vm, struct kvm_clock_data *ret, struct vmm_error *err)
{
	return kvm_ioctl(vm->kvm.vm, KVM_GET_CLOCK, ret, "KVM_GET_CLOCK", err);
}

/* A vCPU's TSC is 0 as it is made (kvm_arch_vcpu_postcreate). */
int snapshot_note_origin(struct vmm *vm, struct vmm_error *err)
{
	struct kvm_clock_data clock = { 0 };
	int rc = read_clock(vm, &clock, err);

	vm->origin = (struct clocks){ .nanoseconds = clock.clock };
	return rc;
}

/* What the TSC has to be by the kvmclock. */
static int tsc_by_clock(const struct vmm *vm, uint64_t nanoseconds, uint64_t *ret, struct vmm_error *err)
{
	int khz = kvm_ioctl(vm->vcpus[0].vcpu.fd, KVM_GET_TSC_KHZ, NULL, "KVM_GET_TSC_KHZ", err);
	uint64_t passed = nanoseconds - vm->origin.nanoseconds;

	*ret = vm->origin.tsc + (uint64_t)((unsigned __int128)passed * (uint64_t)khz / 1000000);
	return khz < 0 ? khz : 0;
}

static void move_forward(uint64_t *tsc, uint64_t to)
{
	if ((int64_t)(to - *tsc) > 0)
		*tsc = to;
}

/*
 * All vCPUs' TSCs are in step, so one is saved: of that which is furthest. They only differ where the host's TSC is no
 * clock: KVM then has a vCPU's stand still from its last exit until it runs again, and catch up with the kvmclock as it
 * does (kvm_arch_vcpu_load, kvm_guest_time_update). All may be asleep, so there the kvmclock says where they would be:
 * else the deadlines of a clone, which are TSCs, were late by as long as the saved machine had slept, by its own clock.
 */
static int save_clocks(const struct vmm *vm, struct clocks *ret, struct vmm_error *err)
{
	struct kvm_clock_data clock = { 0 };
	int rc = read_clock(vm, &clock, err);
	uint64_t now = __rdtsc(), tsc = 0;

	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++) {
		rc = vcpu_tsc_offset(&vm->vcpus[i].vcpu, &tsc, err);
		tsc += now;
		if (i == 0)
			ret->tsc = tsc;
		move_forward(&ret->tsc, tsc);
	}
	if (rc == 0 && !(clock.flags & KVM_CLOCK_TSC_STABLE)) {
		rc = tsc_by_clock(vm, clock.clock, &tsc, err);
		move_forward(&ret->tsc, tsc);
	}
	ret->nanoseconds = clock.clock;
	return rc;
}

static void save_devices(struct devices *devices, struct saved_machine *ret)
{
	serial_save(&devices->serial, &ret->serial);
	ret->power = devices->power.state;
	ret->pci_address = devices->pci.address;
	virtio_console_save(&devices->console, &ret->console);
}

/*
 * After the interrupt controllers. KVM may have been about to deliver an interrupt, so all are raised again:
 * one too many is harmless.
 */
static int restore_devices(struct devices *devices, struct saved_machine *saved, struct vmm_error *err)
{
	int rc;

	saved->serial.line = 0;
	serial_restore(&devices->serial, &saved->serial);
	devices->power.state = saved->power;
	devices->pci.address = saved->pci_address;
	rc = virtio_console_restore(&devices->console, &saved->console, err);
	for (uint32_t i = 0; i < VIRTIO_CONSOLE_QUEUES && rc == 0; i++)
		virtio_pci_interrupt(&devices->console.virtio, i);
	return rc;
}

/* A guest that uses kvmclock tells its watchdogs; another does not care, which KVM calls an error. */
static void tell_watchdogs(const struct vmm *vm)
{
	for (uint32_t i = 0; i < vm->cpus; i++)
		ioctl(vm->vcpus[i].vcpu.fd, KVM_KVMCLOCK_CTRL, 0);
}

static int save(struct vmm *vm, struct saved_machine *machine, struct vmm_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++)
		rc = vcpu_state_save(&vm->vcpus[i].vcpu, &machine->cpus[i], err);
	rc = rc ?: save_clocks(vm, &machine->clocks, err);
	rc = rc ?: transfer_chips(vm, machine, true, err);
	if (rc == 0)
		save_devices(&vm->devices, machine);
	machine->identity = identify(vm, machine);
	return rc;
}

/*
 * What the guest has sent is output before anything is saved: then it is the saved machine's, and no clone says it
 * again. Memory last: KVM writes to it as it is asked, and nobody else does without the devices' lock.
 */
int vmm_snapshot(struct vmm *vm, int memory_fd, int state_fd, struct vmm_error *err)
{
	struct saved_machine *machine = calloc(1, state_bytes(vm));
	int rc = machine ? vmm_pause(vm, err) : error_set(err, ENOMEM, "no memory for a snapshot's state");

	if (rc == 0) {
		pthread_mutex_lock(&vm->device_lock);
		virtio_pci_serve(&vm->devices.console.virtio); /* a turn takes more than a queue holds */
		rc = save(vm, machine, err);
		rc = rc ?: snapshot_file_write(state_fd, machine, state_bytes(vm), 0, err);
		rc = rc ?: memory_file_write(&vm->memory, memory_fd, err);
		pthread_mutex_unlock(&vm->device_lock);
		tell_watchdogs(vm);
		vmm_resume(vm);
	}
	free(machine);
	return rc;
}

/* The border: what is not exactly the state of such a machine, as this build wrote it, is refused here. */
static int check_state(const struct vmm *vm, int fd, struct saved_machine *machine, struct vmm_error *err)
{
	struct identity expected;
	struct stat status;
	int rc = snapshot_file_read(fd, machine, state_bytes(vm), 0, err);

	if (rc)
		return rc;
	expected = identify(vm, machine);
	if (fstat(fd, &status) || status.st_size != (off_t)state_bytes(vm) ||
	    memcmp(&machine->identity, &expected, sizeof(expected)))
		return error_set(err, EINVAL, "a snapshot's state: not of such a machine by this build, or damaged");
	for (uint32_t i = 0; i < vm->cpus; i++)
		if (machine->cpus[i].msrs.count > VCPU_MAX_MSRS)
			return error_set(err, EINVAL, "a snapshot's state: %u MSRs", machine->cpus[i].msrs.count);
	return 0;
}

/* kvmclock and TSC go on together from where they stood, whatever the host's clock says now. */
static int restore_clocks(struct vmm *vm, const struct clocks *saved, uint64_t *tsc_offset, struct vmm_error *err)
{
	struct kvm_clock_data clock = { .clock = saved->nanoseconds };
	int rc = kvm_ioctl(vm->kvm.vm, KVM_SET_CLOCK, &clock, "KVM_SET_CLOCK", err);

	*tsc_offset = saved->tsc - __rdtsc();
	vm->origin = *saved;
	return rc;
}

int snapshot_restore(struct vmm *vm, int state_fd, struct vmm_error *err)
{
	struct saved_machine *machine = calloc(1, state_bytes(vm));
	int rc = machine ? check_state(vm, state_fd, machine, err) :
			   error_set(err, ENOMEM, "no memory for a snapshot's state");
	uint64_t tsc_offset;

	rc = rc ?: restore_clocks(vm, &machine->clocks, &tsc_offset, err);
	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++)
		rc = vcpu_state_restore(&vm->vcpus[i].vcpu, &machine->cpus[i], tsc_offset, err);
	rc = rc ?: transfer_chips(vm, machine, false, err);
	rc = rc ?: restore_devices(&vm->devices, machine, err);
	tell_watchdogs(vm);
	free(machine);
	return rc;
}
