// SPDX-License-Identifier: GPL-2.0-only
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vcpu_state.h"

#define MAGIC 0x50414e53525453ULL /* "STRSNAP" */
#define VERSION 1
#define CHIPS 3 /* the two PICs and the IO-APIC */
#define PAGE 4096

/* What a clone has to have in common with the machine it is made from. */
struct identity {
	uint64_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t vendor;
	uint32_t cpus;
	uint64_t memory_bytes;
	uint64_t state_bytes; /* of the whole file, which sizes of this build and the CPUs decide */
	struct topology topology;
};

struct saved_machine {
	struct identity identity;
	struct kvm_irqchip chips[CHIPS];
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
	struct serial_state serial;
	struct power_state power;
	uint32_t pci_address;
	struct virtio_console_saved console;
};

_Static_assert(sizeof(struct saved_machine) % _Alignof(struct vcpu_state) == 0, "the vCPUs' states follow it");

static size_t state_bytes(const struct vmm *vm)
{
	return sizeof(struct saved_machine) + vm->cpus * sizeof(struct vcpu_state);
}

static void identify(const struct vmm *vm, struct identity *ret)
{
	memset(ret, 0, sizeof(*ret)); /* compared as bytes */
	ret->magic = MAGIC;
	ret->version = VERSION;
	ret->flags = vm->flags;
	ret->vendor = vm->vendor;
	ret->cpus = vm->cpus;
	ret->memory_bytes = vm->memory.bytes;
	ret->state_bytes = state_bytes(vm);
	ret->topology = vm->topology;
}

static int save_chips(const struct vmm *vm, struct saved_machine *ret, struct vmm_error *err)
{
	int fd = vm->kvm.vm, rc = 0;

	for (uint32_t i = 0; i < CHIPS && rc == 0; i++) {
		ret->chips[i].chip_id = i;
		rc = kvm_ioctl(fd, KVM_GET_IRQCHIP, &ret->chips[i], "KVM_GET_IRQCHIP", err);
	}
	if (rc == 0)
		rc = kvm_ioctl(fd, KVM_GET_PIT2, &ret->pit, "KVM_GET_PIT2", err);
	return rc ? rc : kvm_ioctl(fd, KVM_GET_CLOCK, &ret->clock, "KVM_GET_CLOCK", err);
}

static int restore_chips(const struct vmm *vm, struct saved_machine *saved, struct vmm_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < CHIPS && rc == 0; i++) {
		saved->chips[i].chip_id = i;
		rc = kvm_ioctl(vm->kvm.vm, KVM_SET_IRQCHIP, &saved->chips[i], "KVM_SET_IRQCHIP", err);
	}
	return rc ? rc : kvm_ioctl(vm->kvm.vm, KVM_SET_PIT2, &saved->pit, "KVM_SET_PIT2", err);
}

static void save_devices(struct vmm *vm, struct saved_machine *ret)
{
	pthread_mutex_lock(&vm->device_lock);
	serial_save(&vm->devices.serial, &ret->serial);
	ret->power = vm->devices.power.state;
	ret->pci_address = vm->devices.pci.address;
	virtio_console_save(&vm->devices.console, &ret->console);
	pthread_mutex_unlock(&vm->device_lock);
}

/* After the interrupt controllers: what pends is raised again. */
static int restore_devices(struct vmm *vm, const struct saved_machine *saved, struct vmm_error *err)
{
	int rc;

	pthread_mutex_lock(&vm->device_lock);
	serial_restore(&vm->devices.serial, &saved->serial);
	vm->devices.power.state = saved->power;
	vm->devices.pci.address = saved->pci_address;
	rc = virtio_console_restore(&vm->devices.console, &saved->console, err);
	pthread_mutex_unlock(&vm->device_lock);
	return rc;
}

static int write_all(int fd, const void *data, size_t bytes, off_t at, struct vmm_error *err)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pwrite(fd, (const uint8_t *)data + done, bytes - done, at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_set(err, n < 0 ? errno : EIO, "writing a snapshot: %s", strerror(n < 0 ? errno : EIO));
		done += (size_t)n;
	}
	return 0;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Runs of pages that are not zero; the rest stay holes. */
static int write_pages(const uint8_t *host, off_t from, off_t to, int fd, struct vmm_error *err)
{
	int rc = 0;

	for (off_t at = from, end; at < to && rc == 0; at = end) {
		bool zero = is_zero(host + at);

		for (end = at + PAGE; end < to && is_zero(host + end) == zero; end += PAGE)
			;
		if (!zero)
			rc = write_all(fd, host + at, (size_t)(end - at), at, err);
	}
	return rc;
}

/* Pages that were never touched are not even looked at. */
static int write_memory(const struct memory *memory, int fd, struct vmm_error *err)
{
	off_t size = (off_t)memory->bytes, from, to = 0;
	int rc = 0;

	if (memory->fd < 0)
		return error_set(err, ENOTSUP, "a clone cannot be saved: its memory is in no file");
	if (ftruncate(fd, size))
		return error_set(err, errno, "ftruncate of a snapshot: %s", strerror(errno));
	while (rc == 0 && to < size && (from = lseek(memory->fd, to, SEEK_DATA)) >= 0) {
		to = lseek(memory->fd, from, SEEK_HOLE);
		if (to < 0)
			return error_set(err, errno, "lseek in guest memory: %s", strerror(errno));
		rc = write_pages(memory->ranges[0].host, from, to, fd, err);
	}
	return rc;
}

static int save_state(struct vmm *vm, struct saved_machine *machine, int fd, struct vmm_error *err)
{
	struct vcpu_state *cpus = (struct vcpu_state *)(machine + 1);
	int rc = 0;

	identify(vm, &machine->identity);
	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++)
		rc = vcpu_state_save(&vm->vcpus[i], &cpus[i], err);
	if (rc == 0)
		rc = save_chips(vm, machine, err);
	if (rc)
		return rc;
	save_devices(vm, machine);
	return write_all(fd, machine, state_bytes(vm), 0, err);
}

int vmm_snapshot(struct vmm *vm, int memory_fd, int state_fd, struct vmm_error *err)
{
	struct saved_machine *machine = calloc(1, state_bytes(vm));
	int rc;

	if (!machine)
		return error_set(err, ENOMEM, "no memory for a snapshot's state");
	rc = vmm_pause(vm, err);
	if (rc == 0) {
		rc = save_state(vm, machine, state_fd, err);
		if (rc == 0)
			rc = write_memory(&vm->memory, memory_fd, err);
		vmm_resume(vm);
	}
	free(machine);
	return rc;
}

/* The border: everything that is not exactly a state of such a machine is refused here. */
static struct saved_machine *read_state(const struct vmm *vm, int fd, struct vmm_error *err)
{
	size_t bytes = state_bytes(vm);
	struct saved_machine *machine = malloc(bytes + 1);
	struct identity expected;
	ssize_t n = machine ? pread(fd, machine, bytes + 1, 0) : -1;

	identify(vm, &expected);
	if (machine && n == (ssize_t)bytes && memcmp(&machine->identity, &expected, sizeof(expected)) == 0)
		return machine;
	error_set(err, machine ? EINVAL : ENOMEM, machine ? "a snapshot's state: %zd bytes that are no such machine's" :
							    "no memory for a snapshot's state of %zd bytes", n);
	free(machine);
	return NULL;
}

int snapshot_restore(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	struct saved_machine *machine = read_state(vm, config->snapshot_state_fd, err);
	struct vcpu_state *cpus;
	int rc;

	if (!machine)
		return -err->code;
	cpus = (struct vcpu_state *)(machine + 1);
	rc = restore_chips(vm, machine, err);
	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++)
		rc = vcpu_state_restore(&vm->vcpus[i], &cpus[i], &cpus[0], err);
	machine->clock.flags = 0; /* the guest's time goes on from here, whatever the host's is */
	if (rc == 0)
		rc = kvm_ioctl(vm->kvm.vm, KVM_SET_CLOCK, &machine->clock, "KVM_SET_CLOCK", err);
	if (rc == 0)
		rc = restore_devices(vm, machine, err);
	free(machine);
	return rc;
}
