// SPDX-License-Identifier: GPL-2.0-only
/*
 * Leaves of the basic range come from KVM unless they describe the CPU's identity, caches, topology
 * or counters; of the extended range only those with features do. Sources: Intel SDM volume 2,
 * CPUID; AMD APM volume 3, appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
 *
 * Every sharing count is the size of a field of the APIC id, not the number of CPUs in it: Linux
 * rounds it up to a power of two for the id of a cache, but on AMD takes it as it is for the CPUs
 * that share an L1 or L2 (arch/x86/kernel/cpu/cacheinfo.c).
 */
#include "tables.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <string.h>
#include <sys/param.h>

#include "cpuid_offer.h"

#define BIT(n) (1U << (n))

/*
 * What the machine is, to everybody who looks. Linux takes the L3 id of AMD family 17h up to model 1fh
 * from fixed bits of the APIC id, so the family has to be a later one.
 */
#define INTEL_SIGNATURE 0x000806f8U /* family 6, model 8fh, stepping 8 */
#define AMD_SIGNATURE 0x00a00f11U /* family 19h, model 1, stepping 1 */
#define BRAND "ktstr synthetic CPU"

#define INTEL_MAX_EXTENDED 0x80000008U
#define AMD_MAX_EXTENDED 0x80000026U
#define KVM_HINT_REALTIME BIT(KVM_HINTS_REALTIME)

struct leaf {
	uint32_t eax, ebx, ecx, edx;
};

struct builder {
	const struct topology *topology;
	bool amd;
	uint32_t cpu;
	uint32_t apic_id;
	const struct kvm_cpuid2 *supported;
	struct kvm_cpuid2 *ret;
	uint32_t capacity;
	bool full;
};

static void put_entry(struct builder *b, const struct kvm_cpuid_entry2 *entry)
{
	if (b->ret->nent == b->capacity)
		b->full = true;
	else
		b->ret->entries[b->ret->nent++] = *entry;
}

static void put_flagged(struct builder *b, uint32_t function, uint32_t index, uint32_t flags, struct leaf leaf)
{
	put_entry(b, &(struct kvm_cpuid_entry2){ function, index, flags, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx,
						 .padding = { 0 } });
}

static void put(struct builder *b, uint32_t function, struct leaf leaf)
{
	put_flagged(b, function, 0, 0, leaf);
}

static void put_indexed(struct builder *b, uint32_t function, uint32_t index, struct leaf leaf)
{
	put_flagged(b, function, index, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, leaf);
}

/* KVM's answer, zeros when it has none. */
static struct leaf offered(const struct builder *b, uint32_t function)
{
	for (uint32_t i = 0; i < b->supported->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &b->supported->entries[i];

		if (entry->function == function)
			return (struct leaf){ entry->eax, entry->ebx, entry->ecx, entry->edx };
	}
	return (struct leaf){ 0 };
}

static void keep_offered(struct builder *b)
{
	struct kvm_cpuid_entry2 entry;

	for (uint32_t i = 0; i < b->supported->nent; i++)
		if (cpuid_offer(b->supported, i, b->amd, &entry))
			put_entry(b, &entry);
}

static uint32_t package_cpus(const struct builder *b)
{
	return topology_node_cpus(b->topology, topology_node(b->topology, b->cpu));
}

static uint32_t word(const char *text)
{
	uint32_t ret;

	memcpy(&ret, text, sizeof(ret));
	return ret;
}

/* The highest leaf of each range, the vendor (AMD says it twice) and the brand. */
static void put_names(struct builder *b)
{
	const char brand[48] = BRAND, *vendor = b->amd ? "AuthenticAMD" : "GenuineIntel";
	struct leaf leaf = { 0, word(vendor), word(vendor + 8), word(vendor + 4) };

	leaf.eax = MAX(offered(b, 0).eax, b->amd ? 0xdU : 0x1fU);
	put(b, 0, leaf);
	leaf.eax = AMD_MAX_EXTENDED;
	put(b, 0x80000000, b->amd ? leaf : (struct leaf){ .eax = INTEL_MAX_EXTENDED });
	for (uint32_t i = 0; i < 3; i++) {
		const char *part = brand + 16 * i;

		put(b, 0x80000002 + i, (struct leaf){ word(part), word(part + 4), word(part + 8), word(part + 12) });
	}
}

/* Features that would not work here: nested guests, performance counters and tracing. */
#define NO_ECX (BIT(2) | BIT(4) | BIT(5) | BIT(15)) /* DTES64, DS-CPL, VMX, PDCM */
#define NO_EDX BIT(21) /* DS */
/* The local APIC is KVM's, which has had both for longer than its list says so. */
#define ALWAYS_ECX (BIT(21) | BIT(24) | BIT(31)) /* x2APIC, TSC deadline, hypervisor */
#define HTT BIT(28)

static void put_features(struct builder *b)
{
	uint32_t cpus = package_cpus(b);
	uint32_t ids = b->amd ? cpus : 1U << topology_package_shift(b->topology);
	struct leaf leaf = offered(b, 1);

	leaf.eax = b->amd ? AMD_SIGNATURE : INTEL_SIGNATURE;
	leaf.ebx = (b->apic_id & 0xff) << 24 | MIN(ids, 255U) << 16 | 8 << 8; /* CLFLUSH: 8 times 8 bytes */
	leaf.ecx = (leaf.ecx & ~NO_ECX) | ALWAYS_ECX;
	leaf.edx = (leaf.edx & ~(NO_EDX | HTT)) | (cpus > 1 ? HTT : 0);
	put(b, 1, leaf);
}

/* What an Intel CPU has in 0x80000001: LAHF, LZCNT, PREFETCHW; SYSCALL, NX, 1 GiB pages, RDTSCP, long mode. */
#define INTEL_EXTENDED_ECX (BIT(0) | BIT(5) | BIT(8))
#define INTEL_EXTENDED_EDX (BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29))
/* SVM, IBS, SKINIT, WDT, NODEID, and all performance counters; MONITORX, which waits in the host. */
#define AMD_NO_ECX (BIT(2) | BIT(10) | BIT(12) | BIT(13) | BIT(19) | BIT(23) | BIT(24) | BIT(27) | BIT(28) | BIT(29))
#define AMD_CMP_LEGACY BIT(1)
#define AMD_TOPOLOGY_EXTENSIONS BIT(22)

static void put_extended_features(struct builder *b)
{
	struct leaf leaf = offered(b, 0x80000001);

	leaf.eax = b->amd ? AMD_SIGNATURE : 0;
	leaf.ebx = 0;
	leaf.ecx &= b->amd ? ~(AMD_NO_ECX | AMD_CMP_LEGACY) : INTEL_EXTENDED_ECX;
	leaf.edx &= b->amd ? ~0U : INTEL_EXTENDED_EDX;
	if (b->amd)
		leaf.ecx |= AMD_TOPOLOGY_EXTENSIONS | (package_cpus(b) > 1 ? AMD_CMP_LEGACY : 0);
	put(b, 0x80000001, leaf);
}

/* Address widths and features are KVM's; ECX sizes the package on AMD. */
static void put_sizes(struct builder *b)
{
	uint32_t package = topology_package_shift(b->topology) << 12 | (MIN(package_cpus(b), 256U) - 1);
	struct leaf leaf = offered(b, 0x80000008);

	put(b, 0x80000008, (struct leaf){ leaf.eax, leaf.ebx, b->amd ? package : 0, 0 });
}

/* What the guest asks for by a hypercall. */
#define KVM_HYPERCALLS (BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) | BIT(KVM_FEATURE_PV_SCHED_YIELD) | \
			BIT(KVM_FEATURE_HC_MAP_GPA_RANGE))

/*
 * Linux picks VMCALL or VMMCALL by its CPU's vendor. For the one the host does not have KVM patches
 * the guest's code, which faults, as a kernel's text is read-only.
 */
static bool has_hypercalls(const struct builder *b)
{
	uint32_t host = offered(b, 0).ebx;

	return b->amd == (host == word("AuthenticAMD") || host == word("HygonGenuine"));
}

/* APIC ids above 255 in MSIs are a promise of the VMM, so KVM does not list it. */
static void put_kvm(struct builder *b, bool realtime)
{
	static const char signature[12] = "KVMKVMKVM";
	uint32_t highest = MAX(offered(b, KVM_CPUID_SIGNATURE).eax, KVM_CPUID_FEATURES);
	struct leaf features = offered(b, KVM_CPUID_FEATURES);

	if (!has_hypercalls(b))
		features.eax &= ~KVM_HYPERCALLS;
	features.eax |= BIT(KVM_FEATURE_MSI_EXT_DEST_ID);
	features.edx = (features.edx & ~KVM_HINT_REALTIME) | (realtime ? KVM_HINT_REALTIME : 0);
	put(b, KVM_CPUID_SIGNATURE,
	    (struct leaf){ highest, word(signature), word(signature + 4), word(signature + 8) });
	put(b, KVM_CPUID_FEATURES, features);
}

enum cache_type { CACHE_DATA = 1, CACHE_CODE, CACHE_UNIFIED };

#define CACHE_LINE 64U

/* 32 KiB of L1 each, 512 KiB of L2 for a core, 32 MiB of L3 for the declared LLC. */
static const struct cache {
	enum cache_type type;
	uint32_t level, ways, sets;
} caches[] = {
	{ CACHE_DATA, 1, 8, 64 },
	{ CACHE_CODE, 1, 8, 64 },
	{ CACHE_UNIFIED, 2, 8, 1024 },
	{ CACHE_UNIFIED, 3, 16, 32768 },
};

#define CACHES (sizeof(caches) / sizeof(caches[0]))

static uint32_t cache_kib(const struct cache *cache)
{
	return cache->ways * cache->sets * CACHE_LINE / 1024;
}

/* Leaf 4 and 0x8000001d have the same format, but for the cores of a package that only Intel counts. */
static void put_caches(struct builder *b)
{
	uint32_t function = b->amd ? 0x8000001d : 4;
	uint32_t core_bits = topology_package_shift(b->topology) - topology_core_shift(b->topology);
	uint32_t cores = b->amd ? 0 : MIN(1U << core_bits, 64U) - 1;

	for (uint32_t i = 0; i < CACHES; i++) {
		const struct cache *cache = &caches[i];
		uint32_t shift = cache->level == 3 ? topology_llc_shift(b->topology) : topology_core_shift(b->topology);
		struct leaf leaf = { .ecx = cache->sets - 1 };

		leaf.eax = cache->type | cache->level << 5 | BIT(8) | ((1U << shift) - 1) << 14 | cores << 26;
		leaf.ebx = (CACHE_LINE - 1) | (cache->ways - 1) << 22;
		put_indexed(b, function, i, leaf);
	}
	put_indexed(b, function, CACHES, (struct leaf){ 0 });
}

/* Leaf 2 only says to look at leaf 4, that nothing is known of TLBs, and that 64 bytes are prefetched. */
static void put_short_caches(struct builder *b)
{
	uint32_t l1d = cache_kib(&caches[0]) << 24 | caches[0].ways << 16 | 1 << 8 | CACHE_LINE;
	uint32_t l1i = cache_kib(&caches[1]) << 24 | caches[1].ways << 16 | 1 << 8 | CACHE_LINE;
	uint32_t l2 = cache_kib(&caches[2]) << 16 | 6 << 12 | 1 << 8 | CACHE_LINE; /* 6 encodes 8 ways */
	uint32_t l3 = cache_kib(&caches[3]) / 512 << 18 | 8 << 12 | 1 << 8 | CACHE_LINE; /* 8 encodes 16 */

	if (!b->amd)
		put(b, 2, (struct leaf){ 0x00feff01, 0xf0, 0, 0 });
	put(b, 0x80000005, b->amd ? (struct leaf){ .ecx = l1d, .edx = l1i } : (struct leaf){ 0 });
	put(b, 0x80000006, (struct leaf){ .ecx = l2, .edx = b->amd ? l3 : 0 });
}

/* A level: its type, how wide the ids below it are, how many CPUs it has. Type 0 ends the list. */
struct level {
	uint32_t type, shift, cpus;
};

static void put_levels(struct builder *b, uint32_t function, const struct level *levels)
{
	for (uint32_t i = 0; i == 0 || levels[i - 1].type; i++)
		put_indexed(b, function, i,
			    (struct leaf){ levels[i].shift, levels[i].cpus, levels[i].type << 8 | i, b->apic_id });
}

/*
 * Linux on AMD prefers leaf 0x1f to 0x80000026 where there is one, so there is none. A die is a
 * whole package on both.
 */
static void put_topology(struct builder *b)
{
	const struct topology *t = b->topology;
	uint32_t package = topology_package_shift(t), core = topology_core_shift(t);
	const struct level intel[] = { { 1, core, t->threads }, { 2, package, package_cpus(b) }, { 0, 0, 0 } };
	const struct level amd[] = {
		{ 1, core, t->threads }, /* core */
		{ 2, topology_llc_shift(t), topology_llc_cpus(t, b->cpu) }, /* complex: what shares an L3 */
		{ 3, package, package_cpus(b) }, /* die */
		{ 4, package, package_cpus(b) }, /* socket */
		{ 0, 0, 0 },
	};

	put_levels(b, 0xb, intel);
	put_levels(b, b->amd ? AMD_MAX_EXTENDED : 0x1f, b->amd ? amd : intel);
}

/* One node in each package; Linux compares the node's number when it looks for siblings. */
static void put_amd_ids(struct builder *b)
{
	uint32_t in_package = b->apic_id & ((1U << topology_package_shift(b->topology)) - 1);
	uint32_t core = in_package >> topology_core_shift(b->topology);
	uint32_t threads = MIN(b->topology->threads, 256U) - 1;

	put(b, 0x8000001e,
	    (struct leaf){ b->apic_id, threads << 8 | (core & 0xff), topology_node(b->topology, b->cpu), 0 });
}

int cpuid_build(const struct topology *topology, enum cpu_vendor vendor, uint32_t cpu, bool realtime,
		const struct kvm_cpuid2 *supported, struct kvm_cpuid2 *ret, uint32_t capacity, struct vmm_error *err)
{
	struct builder b = { .topology = topology, .amd = vendor == CPU_AMD, .cpu = cpu, .supported = supported,
			     .ret = ret, .capacity = capacity };

	if (cpu >= topology_cpus(topology))
		return error_set(err, EINVAL, "CPUID of CPU %u of %u", cpu, topology_cpus(topology));
	b.apic_id = topology_apic_id(topology, cpu);
	*ret = (struct kvm_cpuid2){ 0 };
	put_names(&b);
	put_features(&b);
	put_short_caches(&b);
	put_caches(&b);
	put_topology(&b);
	put_kvm(&b, realtime);
	put_extended_features(&b);
	put_sizes(&b);
	if (b.amd)
		put_amd_ids(&b);
	keep_offered(&b);
	if (b.full)
		return error_set(err, E2BIG, "CPUID of CPU %u: more than %u entries", cpu, capacity);
	return 0;
}
