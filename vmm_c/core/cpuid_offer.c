// SPDX-License-Identifier: GPL-2.0-only
#include "cpuid_offer.h"

#include <linux/kvm_para.h>
#include <stddef.h>

#define BIT(n) (1U << (n))

/*
 * 0x80000007: power management, 0x8000001a: speed of vectors, 0x80000021: more features. Own because they
 * would be wrong here: 3 is a serial number, 0xa, 0x1c and 0x23 are performance counters, 0x1a is the kind of core.
 */
static bool is_kept(bool amd, uint32_t function)
{
	static const uint32_t own[] = { 0, 1, 2, 3, 4, 0xa, 0xb, 0x1a, 0x1c, 0x1f, 0x23 };

	if (function >= 0x80000000)
		return function == 0x80000007 || (amd && (function == 0x8000001a || function == 0x80000021));
	if (function >= KVM_CPUID_SIGNATURE)
		return function > KVM_CPUID_FEATURES;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (function == own[i])
			return false;
	return true;
}

#define LEAF_FEATURES 7
#define LEAF_XSAVE 0xd
#define LEAF_TILES 0x1d
#define LEAF_TILE_MULTIPLY 0x1e
#define XCR0_TILES (BIT(17) | BIT(18)) /* configuration and data */
#define AMX_7_0_EDX (BIT(22) | BIT(24) | BIT(25)) /* BF16, TILE, INT8 */
#define AMX_7_1_EAX BIT(21) /* FP16 */
#define AMX_7_1_EDX BIT(8) /* COMPLEX */

/*
 * KVM lists AMX whatever the process may use of it, but leaves the state of the tiles out of XCR0 unless the
 * process asked for it (ARCH_REQ_XCOMP_GUEST_PERM). Without that state there are no tiles.
 */
static bool has_tiles(const struct kvm_cpuid2 *supported)
{
	for (uint32_t i = 0; i < supported->nent; i++)
		if (supported->entries[i].function == LEAF_XSAVE && supported->entries[i].index == 0)
			return (supported->entries[i].eax & XCR0_TILES) == XCR0_TILES;
	return false;
}

static void hide_tiles(struct kvm_cpuid_entry2 *entry)
{
	if (entry->function != LEAF_FEATURES)
		return;
	if (entry->index == 0)
		entry->edx &= ~AMX_7_0_EDX;
	if (entry->index == 1) {
		entry->eax &= ~AMX_7_1_EAX;
		entry->edx &= ~AMX_7_1_EDX;
	}
}

/* Intel SDM: what these say depends on ECX. A KVM that does not mark them would answer all with the first entry. */
static bool has_subleaves(uint32_t function)
{
	static const uint32_t leaves[] = { LEAF_FEATURES, LEAF_XSAVE, 0xf, 0x10, 0x12, 0x14, 0x17, 0x18, LEAF_TILES,
					   LEAF_TILE_MULTIPLY, 0x24 };

	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		if (function == leaves[i])
			return true;
	return false;
}

/* Each once, the first of those that are listed twice: KVM never looks at another. */
static bool is_repeated(const struct kvm_cpuid2 *supported, uint32_t number)
{
	const struct kvm_cpuid_entry2 *entry = &supported->entries[number];

	for (uint32_t i = 0; i < number; i++)
		if (supported->entries[i].function == entry->function && supported->entries[i].index == entry->index)
			return true;
	return false;
}

bool cpuid_offer(const struct kvm_cpuid2 *supported, uint32_t number, bool amd, struct kvm_cpuid_entry2 *ret)
{
	bool tiles = has_tiles(supported);

	*ret = supported->entries[number];
	if (!is_kept(amd, ret->function) || is_repeated(supported, number))
		return false;
	if (!tiles && (ret->function == LEAF_TILES || ret->function == LEAF_TILE_MULTIPLY))
		return false;
	if (!tiles)
		hide_tiles(ret);
	if (has_subleaves(ret->function))
		ret->flags |= KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	return true;
}
