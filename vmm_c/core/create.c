// SPDX-License-Identifier: GPL-2.0-only
/* A machine from its configuration, and back to nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "budget.h"
#include "hash.h"
#include "lifecycle.h"
#include "loader.h"
#include "memory_file.h"
#include "snapshot.h"
#include "tables.h"
#include "vm.h"

#define LOCAL_DISTANCE 10
#define REMOTE_DISTANCE 20

/* What they say is checked with the rest; what does not fit was refused before. */
static void set_parts(struct topology *topology, const struct vmm_config *config)
{
	topology->uneven = config->llc_cores != NULL;
	for (uint32_t llc = 0; llc < config->llcs; llc++)
		topology->llc_cores[llc] = config->llc_cores[llc] < UINT16_MAX ? config->llc_cores[llc] : UINT16_MAX;
	for (uint32_t node = 0; node < config->nodes; node++)
		topology->node_llcs[node] = config->node_llcs[node] < UINT16_MAX ? config->node_llcs[node] : UINT16_MAX;
}

static int set_topology(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	struct topology *topology = &vm->topology;
	uint32_t nodes = config->nodes;

	*topology = (struct topology){ .nodes = nodes, .llcs = config->llcs, .cores = config->cores,
				       .threads = config->threads };
	if (!config->llc_cores != !config->node_llcs || (config->llc_cores && (config->llcs > TOPOLOGY_MAX_CPUS ||
									       nodes > TOPOLOGY_MAX_NODES)))
		return error_set(err, EINVAL, "topology: expected the cores of at most %u LLCs, and the LLCs of at most %u"
				 " nodes", TOPOLOGY_MAX_CPUS, TOPOLOGY_MAX_NODES);
	if (config->llc_cores)
		set_parts(topology, config);
	for (uint32_t a = 0; a < nodes && a < TOPOLOGY_MAX_NODES; a++)
		for (uint32_t b = 0; b < nodes && b < TOPOLOGY_MAX_NODES; b++)
			topology->distance[a][b] = config->distances ? config->distances[a * nodes + b] :
						   a == b	     ? LOCAL_DISTANCE :
								       REMOTE_DISTANCE;
	return topology_check(topology, err);
}

static int set_vcpus(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	uint32_t cpus = topology_cpus(&vm->topology);

	vm->cpus = cpus;
	vm->vcpus = calloc(cpus, sizeof(*vm->vcpus));
	vm->pin = config->pin ? calloc(cpus, sizeof(*vm->pin)) : NULL;
	if (!vm->vcpus || (config->pin && !vm->pin))
		return error_set(err, ENOMEM, "no memory for %u vCPUs", cpus);
	for (uint32_t i = 0; i < cpus; i++)
		vm->vcpus[i].vcpu.fd = -1;
	if (config->pin)
		memcpy(vm->pin, config->pin, cpus * sizeof(*vm->pin));
	vm->fifo_priority = config->fifo_priority;
	vm->deadline_ms = config->deadline_ms;
	vm->flags = config->flags;
	return 0;
}

static int open_kvm(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	struct vmm_error refused = { 0 };
	struct kvm_options options = {
		.last_apic_id = topology_apic_id(&vm->topology, vm->cpus - 1),
		.keep_pause = config->flags & VMM_KEEP_PAUSE,
		.keep_halt = config->flags & VMM_KEEP_HALT,
		/* A vCPU that polls before it sleeps takes the time of one that could run. */
		.no_halt_poll = vm->cpus > budget_cpus(vm->pin, vm->cpus),
	};
	int rc = kvm_open(&vm->kvm, err);

	if (rc)
		return rc;
	if (vm->cpus > vm->kvm.max_cpus)
		return error_set(err, E2BIG, "topology: %u vCPUs, and this host's KVM takes %u", vm->cpus,
				 vm->kvm.max_cpus);
	rc = kvm_create_vm(&vm->kvm, &options, &refused, err);
	if (refused.code)
		vm_warn(vm, &refused);
	return rc;
}

static bool is_clone(const struct vmm_config *config)
{
	return config->snapshot_memory_fd >= 0;
}

/*
 * Binding comes before the first use of a page. A clone's memory is its own too, filled from the file: were that mapped,
 * the guest would meet a fault for each small page in what it measures, where one that booted has large pages.
 */
static int add_memory(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	struct vmm_error refused;
	const struct memory_plan plan = { .bytes = config->memory_bytes, .nodes = vm->topology.nodes,
					  .node_bytes = config->node_bytes, .huge = config->flags & VMM_HUGE_PAGES };
	int rc = memory_create(&vm->memory, &plan, err);

	for (uint32_t i = 0; i < vm->memory.count && rc == 0; i++) {
		const struct memory_range *range = &vm->memory.ranges[i];
		uint64_t mask = config->node_masks ? config->node_masks[range->node] : 0;

		if (mask && memory_bind(range, mask, &refused))
			vm_warn(vm, &refused);
		if (config->flags & VMM_POPULATE)
			rc = memory_populate(range, err);
	}
	if (rc == 0 && is_clone(config))
		rc = memory_file_read(&vm->memory, config->snapshot_memory_fd, err);
	return rc ? rc : kvm_add_memory(&vm->kvm, &vm->memory, err);
}

static enum cpu_vendor choose_vendor(uint32_t asked, const struct kvm_cpuid2 *supported)
{
	const uint32_t genuine_intel = 0x756e6547; /* "Genu" */

	if (asked != VMM_VENDOR_HOST)
		return asked == VMM_VENDOR_INTEL ? CPU_INTEL : CPU_AMD;
	for (uint32_t i = 0; i < supported->nent; i++)
		if (supported->entries[i].function == 0)
			return supported->entries[i].ebx == genuine_intel ? CPU_INTEL : CPU_AMD;
	return CPU_AMD;
}

static int add_cpu(struct vmm *vm, uint32_t index, const struct vmm_config *config, const struct kvm_cpuid2 *supported,
		   struct vmm_error *err)
{
	bool x2apic = kvm_needs_x2apic(topology_apic_id(&vm->topology, vm->cpus - 1));
	struct vcpu *vcpu = &vm->vcpus[index].vcpu;
	union kvm_cpuid_table cpuid = { 0 };
	int rc = vcpu_create(vcpu, &vm->kvm, index, topology_apic_id(&vm->topology, index), err);

	vm->vcpus[index].vm = vm;
	rc = rc ?: cpuid_build(&vm->topology, choose_vendor(config->vendor, supported), index,
				 config->flags & VMM_REALTIME_HINT, supported, &cpuid.table, KVM_MAX_CPUID, err);
	rc = rc ?: vcpu_set_cpuid(vcpu, &cpuid.table, err);
	vm->cpuid_hash = hash_bytes(vm->cpuid_hash, &cpuid, sizeof(cpuid));
	return rc ? rc : vcpu_power_on(vcpu, x2apic, err);
}

static int add_cpus(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	union kvm_cpuid_table supported;
	int rc = kvm_supported_cpuid(&vm->kvm, &supported, err);

	for (uint32_t i = 0; i < vm->cpus && rc == 0; i++)
		rc = add_cpu(vm, i, config, &supported.table, err);
	return rc;
}

static int load(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	struct loaded_kernel kernel;
	struct loaded_initrd initrd = { 0 };
	struct kvm_regs regs;
	size_t used;
	int rc = loader_kernel(&vm->memory, config->kernel, &kernel, err);

	rc = rc ?: loader_initrd(&vm->memory, &kernel, config->initrd, config->initrd_parts, &initrd, err);
	rc = rc ?: boot_write(&vm->memory, &kernel, &initrd, config->command_line, err);
	rc = rc ?: acpi_build(&vm->topology, &vm->memory, BOOT_ACPI_BEGIN,
				memory_at(&vm->memory, BOOT_ACPI_BEGIN, BOOT_ACPI_END - BOOT_ACPI_BEGIN),
				BOOT_ACPI_END - BOOT_ACPI_BEGIN, &used, err);
	if (rc)
		return rc;
	regs = boot_regs(&kernel);
	return vcpu_set_boot(&vm->vcpus[0].vcpu, &regs, err);
}

/* FIFO threads share it with others: without inheritance one could wait behind work of less priority. */
static int init_device_lock(struct vmm *vm, struct vmm_error *err)
{
	pthread_mutexattr_t attributes;
	int rc = pthread_mutexattr_init(&attributes);

	if (rc == 0) {
		pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
		rc = pthread_mutex_init(&vm->device_lock, &attributes);
		pthread_mutexattr_destroy(&attributes);
	}
	return rc ? error_set(err, rc, "creating a mutex: %s", strerror(rc)) : 0;
}

/* The border: a configuration of zeros, which names descriptor 0 twice, is none that clones it by accident. */
static int check_source(const struct vmm_config *config, struct vmm_error *err)
{
	if (is_clone(config) != (config->snapshot_state_fd >= 0))
		return error_set(err, EINVAL, "a snapshot is two files: memory is fd %d and state fd %d",
				 config->snapshot_memory_fd, config->snapshot_state_fd);
	if (is_clone(config) && config->snapshot_memory_fd == config->snapshot_state_fd)
		return error_set(err, EINVAL, "a snapshot is two files: fd %d is memory and state",
				 config->snapshot_memory_fd);
	if (!is_clone(config) && (!config->kernel || !config->command_line))
		return error_set(err, EINVAL, "a machine that boots needs a kernel and a command line");
	return 0;
}

static int build(struct vmm *vm, const struct vmm_config *config, struct vmm_error *err)
{
	int rc = check_source(config, err);

	rc = rc ?: set_topology(vm, config, err);
	rc = rc ?: set_vcpus(vm, config, err);
	rc = rc ?: supervisor_init(&vm->supervisor, err);
	rc = rc ?: open_kvm(vm, config, err);
	rc = rc ?: add_memory(vm, config, err);
	rc = rc ?: irq_init(&vm->irqs, vm->kvm.vm, err);
	rc = rc ?: devices_init(&vm->devices, &vm->wires, &vm->memory, config, err);
	rc = rc ?: vm_watch_output(vm, err);
	rc = rc ?: snapshot_note_origin(vm, err);
	rc = rc ?: add_cpus(vm, config, err);
	if (rc)
		return rc;
	return is_clone(config) ? snapshot_restore(vm, config->snapshot_state_fd, err) : load(vm, config, err);
}

/* The locks first: from then on vmm_destroy can undo any part. */
static struct vmm *allocate(struct vmm_error *err)
{
	struct vmm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		error_set(err, ENOMEM, "no memory for a machine");
		return NULL;
	}
	vm->kvm = (struct kvm){ .dev = -1, .vm = -1 };
	vm->supervisor = (struct supervisor){ .epoll = -1, .end = -1, .deadline = -1 };
	vm_connect_devices(vm);
	if (gate_init(&vm->gate, err) || init_device_lock(vm, err)) {
		free(vm);
		return NULL;
	}
	return vm;
}

struct vmm *vmm_create(const struct vmm_config *config, struct vmm_error *err)
{
	struct vmm *vm = allocate(err);

	if (vm && build(vm, config, err)) {
		vmm_destroy(vm);
		return NULL;
	}
	return vm;
}

/* vCPUs before the VM before the memory, so that KVM never maps what is gone. */
void vmm_destroy(struct vmm *vm)
{
	if (!vm)
		return;
	lifecycle_end(vm);
	devices_deinit(&vm->devices);
	for (uint32_t i = 0; vm->vcpus && i < vm->cpus; i++)
		vcpu_destroy(&vm->vcpus[i].vcpu);
	kvm_close(&vm->kvm);
	memory_destroy(&vm->memory);
	supervisor_deinit(&vm->supervisor);
	gate_deinit(&vm->gate);
	pthread_mutex_destroy(&vm->device_lock);
	free(vm->vcpus);
	free(vm->pin);
	free(vm);
}
