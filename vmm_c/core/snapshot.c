// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <x86intrin.h>

#include "vcpu_state.h"

#define MAGIC 0x50414e53525453ULL /* "STRSNAP" */
#define VERSION 2
#define CHIPS 3 /* the two PICs and the IO-APIC */
#define PAGE 4096
#define MEMORY_OPTIONS (VMM_HUGE_PAGES | VMM_POPULATE) /* nothing that the guest sees */

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

uint64_t snapshot_hash(uint64_t seed, const void *data, size_t bytes)
{
	uint64_t hash = seed ^ 0xcbf29ce484222325;

	for (size_t done = 0, n; done < bytes; done += n) {
		uint64_t word = 0;

		n = bytes - done < sizeof(word) ? bytes - done : sizeof(word);
		memcpy(&word, (const uint8_t *)data + done, n);
		hash = (hash ^ word) * 0x100000001b3;
		hash ^= hash >> 32; /* a product alone never lets high bits reach low ones */
	}
	return hash;
}

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
		.flags = vm->flags & ~(uint32_t)MEMORY_OPTIONS,
		.state_bytes = state_bytes(vm),
		.memory_bytes = vm->memory.bytes,
		.cpuid = vm->cpuid_hash,
		.topology = snapshot_hash(0, &vm->topology, sizeof(vm->topology)),
		.checksum = snapshot_hash(0, rest, state_bytes(vm) - sizeof(struct identity)),
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
		ioctl(vm->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
}

static int transfer_all(int fd, uint8_t *data, size_t bytes, off_t at, bool save, struct vmm_error *err)
{
	for (ssize_t n; bytes; data += n, bytes -= (size_t)n, at += n) {
		n = save ? pwrite(fd, data, bytes, at) : pread(fd, data, bytes, at);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return error_set(err, n < 0 ? errno : EINVAL, "%s a snapshot: %s", save ? "writing" : "reading",
					 n < 0 ? strerror(errno) : "the file is too short");
	}
	return 0;
}

/* The next part of a file from *to on that is not a hole. */
static bool next_data(int fd, off_t size, off_t *from, off_t *to)
{
	*from = lseek(fd, *to, SEEK_DATA);
	if (*from < 0 || *from >= size)
		return false;
	*to = lseek(fd, *from, SEEK_HOLE);
	return *to > *from && *to <= size;
}

/*
 * Whether a large page's worth of memory may have been written to: pages of it are in RAM or swapped out (bits 63
 * and 62, Documentation/admin-guide/mm/pagemap.rst).
 */
static bool is_touched(int pagemap, const uint8_t *host)
{
	uint64_t pages[MEMORY_STEP / PAGE];
	off_t at = (off_t)((uintptr_t)host / PAGE * sizeof(*pages));

	if (pread(pagemap, pages, sizeof(pages), at) != sizeof(pages))
		return true;
	for (size_t i = 0; i < MEMORY_STEP / PAGE; i++)
		if (pages[i] >> 62)
			return true;
	return false;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Runs of pages that are not zero; the rest stay holes. */
static int write_pages(uint8_t *host, off_t from, off_t to, int fd, struct vmm_error *err)
{
	int rc = 0;

	for (off_t at = from, end; at < to && rc == 0; at = end) {
		bool zero = is_zero(host + at);

		for (end = at + PAGE; end < to && is_zero(host + end) == zero; end += PAGE)
			;
		if (!zero)
			rc = transfer_all(fd, host + at, (size_t)(end - at), at, true, err);
	}
	return rc;
}

/* Pages that were never touched are not even looked at. */
static int write_memory(const struct memory *memory, int fd, struct vmm_error *err)
{
	int pagemap = memory->cloned ? -1 : open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t size = (off_t)memory->bytes, step = (off_t)MEMORY_STEP;
	uint8_t *host = memory->ranges[0].host;
	int rc = ftruncate(fd, size) ? error_set(err, errno, "ftruncate of a snapshot: %s", strerror(errno)) : 0;

	for (off_t at = 0; at < size && rc == 0; at += step)
		if (is_touched(pagemap, host + at))
			rc = write_pages(host, at, at + step, fd, err);
	if (pagemap >= 0)
		close(pagemap);
	return rc;
}

bool snapshot_shares_memory(const struct vmm_config *config)
{
	return config->snapshot_memory_fd > 0 && !(config->flags & MEMORY_OPTIONS) && !config->node_masks;
}

int snapshot_read_memory(const struct memory *memory, int fd, struct vmm_error *err)
{
	off_t size = (off_t)memory->bytes, from, to = 0;
	int rc = 0;

	if (lseek(fd, 0, SEEK_END) != size)
		return error_set(err, EINVAL, "a snapshot's memory: expected a file of %lld bytes", (long long)size);
	while (rc == 0 && next_data(fd, size, &from, &to))
		rc = transfer_all(fd, memory->ranges[0].host + from, (size_t)(to - from), from, false, err);
	return rc;
}

static int save(struct vmm *vm, struct saved_machine *machine, struct vmm_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++)
		rc = vcpu_state_save(&vm->vcpus[i], &machine->cpus[i], err);
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
		rc = rc ?: transfer_all(state_fd, (uint8_t *)machine, state_bytes(vm), 0, true, err);
		rc = rc ?: write_memory(&vm->memory, memory_fd, err);
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
	int rc = transfer_all(fd, (uint8_t *)machine, state_bytes(vm), 0, false, err);

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
		rc = vcpu_state_restore(&vm->vcpus[i], &machine->cpus[i], tsc_offset, err);
	rc = rc ?: transfer_chips(vm, machine, false, err);
	rc = rc ?: restore_devices(&vm->devices, machine, err);
	tell_watchdogs(vm);
	free(machine);
	return rc;
}
