// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz target of what a guest is told about its machine: topology, memory, KVM's list and the room
 * for the answers come from the input. Builders refuse or give lists and tables that are whole, and
 * write nowhere else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tables.h"
#include "boot.h"
#include "fuzz_standalone.h"
#include "vmm_driver.h"

#define MAX_SUPPORTED 64U
#define ACPI_BYTES_MAX (48U << 10)
#define LOW_END 0x9fc00U
#define HIGH_BEGIN 0x100000U
#define COMMAND_LINE_PLACE 0x228
#define COMMAND_LINE_ROOM (LOW_END - 0x20000U) /* with its NUL */

static struct vmm_error error;

/* What is left of the input; zeros when it is used up. */
struct input {
	const uint8_t *data;
	size_t bytes;
};

static void take(struct input *input, void *ret, size_t bytes)
{
	size_t n = bytes < input->bytes ? bytes : input->bytes;

	memset(ret, 0, bytes);
	if (n)
		memcpy(ret, input->data, n);
	input->data += n;
	input->bytes -= n;
}

static uint32_t number(struct input *input, uint32_t below)
{
	uint32_t value;

	take(input, &value, sizeof(value));
	return value % below;
}

/* Half of them are machines; the others have any counts. */
static void take_counts(struct input *input, struct topology *t)
{
	if (number(input, 2)) {
		take(input, t, 4 * sizeof(uint32_t));
		return;
	}
	t->nodes = 1 + number(input, TOPOLOGY_MAX_NODES);
	t->llcs = t->nodes * (1 + number(input, TOPOLOGY_MAX_CPUS / t->nodes));
	t->cores = 1 + number(input, TOPOLOGY_MAX_CPUS / t->llcs);
	t->threads = 1 + number(input, TOPOLOGY_MAX_CPUS / (t->llcs * t->cores));
}

/* Some have LLCs and nodes that differ: those of a machine that has no more than its counts say. */
static void take_parts(struct input *input, struct topology *t)
{
	uint32_t most = 0;

	if (number(input, 2) || t->llcs > TOPOLOGY_MAX_CPUS || t->nodes > TOPOLOGY_MAX_NODES || !t->nodes || !t->cores)
		return;
	t->uneven = 1;
	for (uint32_t llc = 0; llc < t->llcs; llc++) {
		t->llc_cores[llc] = (uint16_t)(number(input, 64) ? 1 + number(input, t->cores) : number(input, 1U << 16));
		most = t->llc_cores[llc] > most ? t->llc_cores[llc] : most;
		t->node_llcs[number(input, t->nodes)]++;
	}
	if (number(input, 64))
		t->cores = most;
}

/* Most distances are those of a machine: the same both ways. */
static void take_distances(struct input *input, struct topology *t)
{
	bool symmetric = number(input, 4);

	for (uint32_t a = 0; a < TOPOLOGY_MAX_NODES && a < t->nodes; a++) {
		take(input, t->distance[a], TOPOLOGY_MAX_NODES < t->nodes ? TOPOLOGY_MAX_NODES : t->nodes);
		for (uint32_t b = 0; symmetric && b <= a; b++)
			t->distance[a][b] = t->distance[b][a] = a == b ? 10 : 11 + t->distance[a][b] % 244;
	}
}

/* --- CPUID --- */

static size_t list_bytes(uint32_t entries)
{
	return sizeof(struct kvm_cpuid2) + entries * sizeof(struct kvm_cpuid_entry2);
}

/* Exactly as long, for ASan. */
static struct kvm_cpuid2 *new_list(uint32_t entries)
{
	struct kvm_cpuid2 *list = calloc(1, list_bytes(entries));

	CHECK(list);
	list->nent = entries;
	return list;
}

static struct kvm_cpuid2 *take_supported(struct input *input)
{
	struct kvm_cpuid2 *list = new_list(number(input, MAX_SUPPORTED + 1));

	for (uint32_t i = 0; i < list->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &list->entries[i];

		take(input, &entry->eax, 4 * sizeof(uint32_t));
		entry->function = number(input, 0x28) | (number(input, 3) << 30);
		entry->index = number(input, 4);
	}
	return list;
}

static const struct kvm_cpuid_entry2 *entry_of(const struct kvm_cpuid2 *list, uint32_t function)
{
	for (uint32_t i = 0; i < list->nent; i++)
		if (list->entries[i].function == function)
			return &list->entries[i];
	return NULL;
}

/* Levels of a topology leaf: their widths grow, and the id is the CPU's own. */
static void check_levels(const struct kvm_cpuid2 *list, uint32_t function, uint32_t id)
{
	uint32_t shift = 0;

	for (uint32_t i = 0; i < list->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &list->entries[i];

		if (entry->function != function)
			continue;
		CHECK(entry->edx == id);
		if (!(entry->ecx >> 8))
			return;
		CHECK(entry->eax >= shift && entry->ebx && entry->ebx <= 1U << entry->eax);
		shift = entry->eax;
	}
	CHECK(!"the list of levels has an end");
}

static void check_cpu(const struct topology *t, uint32_t cpu, enum cpu_vendor vendor, bool realtime,
		      const struct kvm_cpuid2 *supported, uint32_t capacity)
{
	struct kvm_cpuid2 *whole = new_list(256), *tight;
	uint32_t id = topology_apic_id(t, cpu);

	CHECK(cpuid_build(t, vendor, cpu, realtime, supported, whole, 256, &error) == 0 && whole->nent <= 256);
	CHECK(entry_of(whole, 1)->ebx >> 24 == (id & 0xff) && entry_of(whole, 0)->eax >= 0xb);
	check_levels(whole, 0xb, id);
	check_levels(whole, vendor == CPU_INTEL ? 0x1f : 0x80000026, id);
	CHECK(cpu == 0 || topology_apic_id(t, cpu - 1) < id);
	tight = new_list(capacity);
	if (capacity < whole->nent) {
		CHECK(cpuid_build(t, vendor, cpu, realtime, supported, tight, capacity, &error) == -E2BIG);
	} else {
		CHECK(cpuid_build(t, vendor, cpu, realtime, supported, tight, capacity, &error) == 0);
		CHECK(memcmp(whole, tight, list_bytes(whole->nent)) == 0);
	}
	free(tight);
	free(whole);
}

static void check_cpuid(struct input *input, const struct topology *t)
{
	enum cpu_vendor vendor = number(input, 2) ? CPU_INTEL : CPU_AMD;
	bool realtime = number(input, 2);
	uint32_t capacity = number(input, 129), cpu = number(input, topology_cpus(t));
	struct kvm_cpuid2 *supported = take_supported(input);

	check_cpu(t, cpu, vendor, realtime, supported, capacity);
	check_cpu(t, topology_cpus(t) - 1, vendor, realtime, supported, capacity);
	CHECK(cpuid_build(t, vendor, topology_cpus(t), realtime, supported, supported, 0, &error) == -EINVAL);
	free(supported);
}

/* --- ACPI --- */

struct tables {
	const uint8_t *bytes;
	size_t used;
	uint64_t gpa;
};

static uint64_t get(const uint8_t *at, uint32_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, at, bytes);
	return value;
}

static uint8_t sum(const uint8_t *at, size_t bytes)
{
	uint8_t total = 0;

	while (bytes--)
		total += *at++;
	return total;
}

/* The table at a physical address, whole and with a sum of 0. */
static const uint8_t *table_at(const struct tables *tables, uint64_t gpa, const char *signature, uint32_t *length)
{
	uint64_t offset = gpa - tables->gpa;
	const uint8_t *table = tables->bytes + offset;

	CHECK(gpa >= tables->gpa && offset % 16 == 0 && offset + 36 <= tables->used);
	*length = (uint32_t)get(table + 4, 4);
	CHECK(*length >= 36 && *length <= tables->used - offset && sum(table, *length) == 0);
	CHECK(!signature || memcmp(table, signature, 4) == 0);
	return table;
}

/* How many structures of two kinds follow; each has its length at length_at. They fill the table exactly. */
static void count(const uint8_t *at, const uint8_t *end, uint8_t kind_a, uint8_t kind_b, uint32_t ret[2])
{
	ret[0] = ret[1] = 0;
	while (at < end) {
		CHECK(end - at >= 2 && at[1] >= 2 && at[1] <= end - at);
		ret[0] += *at == kind_a;
		ret[1] += *at == kind_b;
		at += at[1];
	}
}

static void check_srat(const uint8_t *table, uint32_t length, const struct topology *t, const struct memory *memory)
{
	uint64_t total = 0;
	uint32_t found[2];

	count(table + 48, table + length, 2, 1, found);
	CHECK(found[0] == topology_cpus(t) && found[1] == memory->count);
	for (const uint8_t *at = table + 48; at < table + length; at += at[1]) {
		CHECK(get(at + (*at == 2 ? 4 : 2), 4) < t->nodes);
		total += *at == 1 ? get(at + 16, 8) : 0;
	}
	CHECK(total == memory->bytes);
}

static void check_hmat(uint32_t length, const struct topology *t, const struct memory *memory)
{
	uint32_t initiators = 0, targets = 0;

	for (uint32_t node = 0; node < t->nodes; node++) {
		bool has_memory = false;

		for (uint32_t i = 0; i < memory->count; i++)
			has_memory |= memory->ranges[i].node == node;
		targets += has_memory;
		initiators += topology_node_cpus(t, node) > 0;
		CHECK(topology_node_cpus(t, topology_initiator(t, node)) > 0);
	}
	CHECK(length == 40 + 40 * targets + 2 * (32 + 4 * (initiators + targets) + 2 * initiators * targets));
}

static void check_listed(const struct tables *tables, uint64_t gpa, const struct topology *t,
			 const struct memory *memory)
{
	uint32_t length, found[2], unused;
	const uint8_t *table = table_at(tables, gpa, NULL, &length);

	if (memcmp(table, "FACP", 4) == 0) {
		CHECK(length == 276 && get(table + 40, 4) == get(table + 140, 8));
		table_at(tables, get(table + 140, 8), "DSDT", &unused);
		CHECK(get(table + 36, 4) % 64 == 0 && get(table + 36, 4) - tables->gpa + 64 <= tables->used);
	} else if (memcmp(table, "APIC", 4) == 0) {
		count(table + 44, table + length, 0, 9, found);
		CHECK(found[0] + found[1] == topology_cpus(t));
	} else if (memcmp(table, "SRAT", 4) == 0) {
		check_srat(table, length, t, memory);
	} else if (memcmp(table, "SLIT", 4) == 0) {
		CHECK(get(table + 36, 8) == t->nodes && length == 44 + t->nodes * t->nodes);
	} else {
		CHECK(memcmp(table, "HMAT", 4) == 0 && t->nodes > 1);
		check_hmat(length, t, memory);
	}
}

static void check_tables(const struct tables *tables, const struct topology *t, const struct memory *memory)
{
	const uint8_t *rsdp = tables->bytes, *xsdt;
	uint32_t length;

	CHECK(tables->used <= ACPI_BYTES_MAX && memcmp(rsdp, "RSD PTR ", 8) == 0);
	CHECK(sum(rsdp, 20) == 0 && sum(rsdp, 36) == 0);
	xsdt = table_at(tables, get(rsdp + 24, 8), "XSDT", &length);
	CHECK(length == 36U + 8 * (t->nodes > 1 ? 5 : 4));
	for (uint32_t at = 36; at < length; at += 8)
		check_listed(tables, get(xsdt + at, 8), t, memory);
}

static void check_acpi(struct input *input, const struct topology *t, const struct memory *memory)
{
	size_t size = number(input, 4) ? 0x20000 : number(input, 0x10000), used = 0;
	uint64_t gpa = number(input, 4) ? number(input, 0x4000) * 64ULL : number(input, UINT32_MAX);
	uint8_t *bytes = malloc(size + !size);
	int rc = acpi_build(t, memory, gpa, bytes, size, &used, &error);

	CHECK(bytes && (rc == 0 || rc == -E2BIG || rc == -EINVAL));
	CHECK(rc != -EINVAL || gpa % 64 || gpa + size > UINT32_MAX);
	CHECK(rc != -E2BIG || size < ACPI_BYTES_MAX);
	if (rc == 0)
		check_tables(&(struct tables){ bytes, used, gpa }, t, memory);
	free(bytes);
}

/* --- boot parameters --- */

/* Entries in order, none over another; RAM in all is the machine's but for the firmware's part of the first MiB. */
static void check_e820(const struct memory *memory, const uint8_t *zero_page)
{
	uint64_t before = 0, total = 0;

	CHECK(zero_page[0x1e8] >= 4 && zero_page[0x1e8] <= 5);
	for (uint32_t i = 0; i < zero_page[0x1e8]; i++) {
		uint64_t begin = get(zero_page + 0x2d0 + 20 * i, 8), bytes = get(zero_page + 0x2d8 + 20 * i, 8);
		bool ram = get(zero_page + 0x2e0 + 20 * i, 4) == 1;

		CHECK(begin >= before && bytes && begin + bytes > begin);
		CHECK(!ram || memory_at(memory, begin, bytes));
		before = begin + bytes;
		total += ram ? bytes : 0;
	}
	CHECK(total == memory->bytes - (HIGH_BEGIN - LOW_END));
}

static bool all_zero(const struct memory *memory, uint64_t gpa, uint64_t bytes)
{
	const uint8_t *at = memory_at(memory, gpa, bytes);

	return at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0;
}

static void check_boot(struct input *input, const struct memory *memory)
{
	static char text[COMMAND_LINE_ROOM + 4];
	struct loaded_kernel kernel = { .entry = HIGH_BEGIN, .command_line_max = number(input, 2) ? 2047 : UINT32_MAX };
	struct loaded_initrd initrd = { number(input, UINT32_MAX), number(input, UINT32_MAX) };
	uint32_t bytes = number(input, 4) ? number(input, 3000) : COMMAND_LINE_ROOM - 4 + number(input, 8);
	const uint8_t *zero_page;
	int rc;

	take(input, &kernel.setup, sizeof(kernel.setup));
	memset(text, 'a', sizeof(text));
	text[bytes] = 0;
	rc = boot_write(memory, &kernel, &initrd, text, &error);
	CHECK((rc == 0) == (bytes <= kernel.command_line_max && bytes < COMMAND_LINE_ROOM));
	CHECK(all_zero(memory, LOW_END, HIGH_BEGIN - LOW_END));
	if (rc)
		return;
	zero_page = memory_at(memory, boot_regs(&kernel).rsi, 4096);
	check_e820(memory, zero_page);
	CHECK(strcmp(memory_at(memory, get(zero_page + COMMAND_LINE_PLACE, 4), bytes + 1), text) == 0);
	CHECK(get(zero_page + 0x218, 4) == initrd.address && get(zero_page + 0x21c, 4) == initrd.bytes);
}

/* Even shares, or for the first node the most, so that what boots fits. */
static struct memory_plan take_memory(struct input *input, const struct topology *t,
				      uint64_t node_bytes[TOPOLOGY_MAX_NODES])
{
	struct memory_plan plan = { .nodes = t->nodes };
	uint64_t share = (1 + number(input, 1U << number(input, 14))) * MEMORY_STEP;

	plan.bytes = t->nodes * share;
	if (number(input, 2))
		return plan;
	plan.node_bytes = node_bytes;
	plan.bytes = 0;
	for (uint32_t node = 0; node < t->nodes; node++) {
		node_bytes[node] = node ? number(input, 3) * MEMORY_STEP : share;
		plan.bytes += node_bytes[node];
	}
	return plan;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input input = { data, bytes };
	struct topology t = { 0 };
	uint64_t node_bytes[TOPOLOGY_MAX_NODES];
	struct memory_plan plan;
	struct memory memory;

	take_counts(&input, &t);
	take_parts(&input, &t);
	take_distances(&input, &t);
	if (topology_check(&t, &error))
		return 0;
	plan = take_memory(&input, &t, node_bytes);
	if (memory_create(&memory, &plan, &error) == 0) {
		check_boot(&input, &memory);
		check_acpi(&input, &t, &memory);
	}
	memory_destroy(&memory);
	check_cpuid(&input, &t);
	return 0;
}
