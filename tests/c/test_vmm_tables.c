// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints what the VMM would tell a guest, as bytes, for decoders that know nothing of the VMM:
 *	cpuid N L C T VENDOR REALTIME CAPACITY	all CPUs' lists; KVM's list on standard input
 *	acpi N L C T MEMORY ADDRESS SIZE	the tables; the distances on standard input
 *	kvm VENDOR N L C T CPU			KVM's list, then what KVM took for one CPU, then gives back
 * A list is a struct kvm_cpuid2. What is refused goes to standard error as a sentence, with exit code 1.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tables.h"

#define MAX_ENTRIES 256

union list {
	struct kvm_cpuid2 cpuid;
	uint8_t bytes[sizeof(struct kvm_cpuid2) + MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
};

static struct vmm_error error;

static void fail(const char *text)
{
	fprintf(stderr, "%s\n", text);
	exit(1);
}

static uint32_t number(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 0);
}

static void print(const void *data, size_t bytes)
{
	if (fwrite(data, 1, bytes, stdout) != bytes)
		fail("cannot write");
}

static void print_list(const union list *list)
{
	print(list, sizeof(struct kvm_cpuid2) + list->cpuid.nent * sizeof(struct kvm_cpuid_entry2));
}

/* ":6+2/0": a node with LLCs of 6 and 2 cores, and one of memory alone. */
static void read_parts(const char *text, struct topology *t)
{
	uint32_t node = 0, llc = 0;

	t->uneven = *text == ':';
	for (const char *at = text + 1; t->uneven && *at; at++) {
		char *end;
		uint32_t cores = (uint32_t)strtoul(at, &end, 10);

		if (cores && llc < TOPOLOGY_MAX_CPUS && node < TOPOLOGY_MAX_NODES) {
			t->llc_cores[llc++] = (uint16_t)cores;
			t->node_llcs[node]++;
		}
		node += *end == '/';
		at = end;
		if (!*at)
			break;
	}
	t->llcs = t->uneven ? llc : t->llcs;
}

/* The distances are read, or 10 and 20. */
static struct topology read_topology(char **argv, int with_distances)
{
	struct topology t = { .nodes = number(argv[0]), .llcs = number(argv[1]), .cores = number(argv[2]),
			      .threads = number(argv[3]) };

	read_parts(argv[1], &t);
	for (uint32_t i = 0; i < TOPOLOGY_MAX_NODES * TOPOLOGY_MAX_NODES; i++)
		t.distance[i / TOPOLOGY_MAX_NODES][i % TOPOLOGY_MAX_NODES] = i % (TOPOLOGY_MAX_NODES + 1) ? 20 : 10;
	for (uint32_t i = 0; with_distances && i < t.nodes && i < TOPOLOGY_MAX_NODES; i++)
		if (fread(t.distance[i], 1, t.nodes, stdin) != t.nodes)
			break;
	if (topology_check(&t, &error))
		fail(error.text);
	return t;
}

static void print_cpuid(char **argv)
{
	static union list supported;
	struct topology t = read_topology(argv, 0);
	uint32_t capacity = number(argv[6]);
	size_t got = fread(&supported, 1, sizeof(supported), stdin);

	if (got != sizeof(struct kvm_cpuid2) + supported.cpuid.nent * sizeof(struct kvm_cpuid_entry2))
		fail("the list is cut short");
	for (uint32_t cpu = 0; cpu < topology_cpus(&t); cpu++) {
		/* Exactly as long, for ASan. */
		union list *ret = malloc(sizeof(struct kvm_cpuid2) + capacity * sizeof(struct kvm_cpuid_entry2));

		if (!ret)
			fail("no memory");
		if (cpuid_build(&t, number(argv[4]), cpu, number(argv[5]), &supported.cpuid, &ret->cpuid, capacity,
				&error))
			fail(error.text);
		print_list(ret);
		free(ret);
	}
}

/* "64/0/128": what each node has; one number: what all have together. */
static struct memory_plan read_memory(const char *text, uint32_t nodes, uint64_t node_bytes[TOPOLOGY_MAX_NODES])
{
	struct memory_plan plan = { .nodes = nodes, .node_bytes = strchr(text, '/') ? node_bytes : NULL };
	uint32_t node = 0;

	for (const char *at = text; *at && node < TOPOLOGY_MAX_NODES; node++) {
		char *end;

		node_bytes[node] = strtoull(at, &end, 0);
		plan.bytes += node_bytes[node];
		at = *end ? end + 1 : end;
	}
	return plan;
}

static void print_acpi(char **argv)
{
	struct topology t = read_topology(argv, 1);
	uint64_t node_bytes[TOPOLOGY_MAX_NODES] = { 0 };
	struct memory_plan plan = read_memory(argv[4], t.nodes, node_bytes);
	struct memory memory;
	size_t size = number(argv[6]), used = 0;
	uint8_t *tables = malloc(size + 1);

	if (!tables || memory_create(&memory, &plan, &error))
		fail(tables ? error.text : "no memory");
	if (acpi_build(&t, &memory, strtoull(argv[5], NULL, 0), tables, size, &used, &error))
		fail(error.text);
	print(tables, used);
	memory_destroy(&memory);
	free(tables);
}

static int call(int fd, unsigned long request, void *argument, const char *name)
{
	int rc = ioctl(fd, request, argument);

	if (rc < 0)
		fail(name);
	return rc;
}

static void print_kvm(char **argv)
{
	static union list supported = { .cpuid.nent = MAX_ENTRIES }, ours, taken = { .cpuid.nent = MAX_ENTRIES };
	struct topology t = read_topology(argv + 1, 0);
	uint32_t cpu = number(argv[5]);
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm, vcpu;

	if (kvm < 0)
		fail("cannot open /dev/kvm");
	call(kvm, KVM_GET_SUPPORTED_CPUID, &supported, "KVM_GET_SUPPORTED_CPUID");
	vm = call(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	call(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	vcpu = call(vm, KVM_CREATE_VCPU, (void *)(uintptr_t)topology_apic_id(&t, cpu), "KVM_CREATE_VCPU");
	if (cpuid_build(&t, number(argv[0]), cpu, false, &supported.cpuid, &ours.cpuid, MAX_ENTRIES, &error))
		fail(error.text);
	call(vcpu, KVM_SET_CPUID2, &ours, "KVM_SET_CPUID2");
	call(vcpu, KVM_GET_CPUID2, &taken, "KVM_GET_CPUID2");
	print_list(&supported);
	print_list(&ours);
	print_list(&taken);
}

int main(int argc, char **argv)
{
	if (argc == 9 && strcmp(argv[1], "cpuid") == 0)
		print_cpuid(argv + 2);
	else if (argc == 9 && strcmp(argv[1], "acpi") == 0)
		print_acpi(argv + 2);
	else if (argc == 8 && strcmp(argv[1], "kvm") == 0)
		print_kvm(argv + 2);
	else
		fail("usage: test_vmm_tables cpuid|acpi|kvm ...");
	return 0;
}
