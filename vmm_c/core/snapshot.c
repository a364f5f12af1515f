// SPDX-License-Identifier: GPL-2.0-only
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <x86intrin.h>

#include "hash.h"
#include "memory_file.h"
#include "snapshot_file.h"
#include "vcpu_state.h"

#define MAGIC 0x50414e53525453ULL /* "STRSNAP" */
#define VERSION 2
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
	struct kvm_clock_data clock;
	uint64_t host_tsc; /* when the clock was read */
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

static int save_clock(const struct vmm *vm, struct saved_machine *ret, struct vmm_error *err)
{
	int rc = kvm_ioctl(vm->kvm.vm, KVM_GET_CLOCK, &ret->clock, "KVM_GET_CLOCK", err);

	ret->host_tsc = __rdtsc();
	ret->clock.flags = 0; /* to be set as it stood, whatever the host's clock says then */
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
	rc = rc ?: save_clock(vm, machine, err);
	rc = rc ?: transfer_chips(vm, machine, true, err);
	if (rc == 0)
		save_devices(&vm->devices, machine);
	machine->identity = identify(vm, machine);
	return rc;
}

/* Memory last: KVM writes to it as it is asked, and nobody else does without the devices' lock. */
int vmm_snapshot(struct vmm *vm, int memory_fd, int state_fd, struct vmm_error *err)
{
	struct saved_machine *machine = calloc(1, state_bytes(vm));
	int rc = machine ? vmm_pause(vm, err) : error_set(err, ENOMEM, "no memory for a snapshot's state");

	if (rc == 0) {
		pthread_mutex_lock(&vm->device_lock);
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
	int rc = snapshot_file_read(fd, machine, state_bytes(vm), 0, err);

	if (rc)
		return rc;
	expected = identify(vm, machine);
	if (lseek(fd, 0, SEEK_END) != (off_t)state_bytes(vm) || memcmp(&machine->identity, &expected, sizeof(expected)))
		return error_set(err, EINVAL, "a snapshot's state: not of such a machine by this build, or damaged");
	for (uint32_t i = 0; i < vm->cpus; i++)
		if (machine->cpus[i].msrs.count > VCPU_MAX_MSRS)
			return error_set(err, EINVAL, "a snapshot's state: %u MSRs", machine->cpus[i].msrs.count);
	return 0;
}

/*
 * kvmclock and TSC go on together, as Linux compares them. All TSCs are in step, from where the one stood that is
 * furthest: they only differ where the host's TSC is no clock, as KVM then lets a vCPU's fall behind while it
 * does not run.
 */
static int restore_clock(const struct vmm *vm, struct saved_machine *machine, uint64_t *tsc_offset,
			 struct vmm_error *err)
{
	uint64_t furthest = machine->cpus[0].tsc_offset;
	int rc = kvm_ioctl(vm->kvm.vm, KVM_SET_CLOCK, &machine->clock, "KVM_SET_CLOCK", err);

	*tsc_offset = machine->host_tsc - __rdtsc();
	for (uint32_t i = 1; i < vm->cpus; i++)
		if ((int64_t)(machine->cpus[i].tsc_offset - furthest) > 0)
			furthest = machine->cpus[i].tsc_offset;
	*tsc_offset += furthest;
	return rc;
}

int snapshot_restore(struct vmm *vm, int state_fd, struct vmm_error *err)
{
	struct saved_machine *machine = calloc(1, state_bytes(vm));
	int rc = machine ? check_state(vm, state_fd, machine, err) :
			   error_set(err, ENOMEM, "no memory for a snapshot's state");
	uint64_t tsc_offset;

	rc = rc ?: restore_clock(vm, machine, &tsc_offset, err);
	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++)
		rc = vcpu_state_restore(&vm->vcpus[i].vcpu, &machine->cpus[i], tsc_offset, err);
	rc = rc ?: transfer_chips(vm, machine, false, err);
	rc = rc ?: restore_devices(&vm->devices, machine, err);
	tell_watchdogs(vm);
	free(machine);
	return rc;
}
