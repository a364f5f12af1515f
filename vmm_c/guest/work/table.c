// SPDX-License-Identifier: GPL-2.0-only
#include "work/work.h"

#define WORK_TYPE(ID, symbol, number, Name, group, flags, shared, about) extern const struct work_ops work_##symbol;
#include "work_types.def"

#define WAKES WORK_WAKES
#define SLEEPS 0 /* the host's to know */
#define PIPES WORK_PIPES
#define LEADS 0
#define UNLIKE 0
#define REQUESTS WORK_REQUESTS
#define PHASES 0
#define SIBLINGS 0
#define YIELDS 0
#define PINS 0

static const struct work_type types[] = {
#define WORK_TYPE(ID, symbol, number, Name, group_, flags_, shared, about) \
	[number] = { .id = number, .name = #Name, .group = group_, .flags = flags_, .shared_bytes = shared, \
		     .ops = &work_##symbol },
#include "work_types.def"
};

/* By number: what each worker of a group takes of numbers and of shared bytes. */
static const struct growth {
	uint32_t params;
	uint32_t bytes;
} growths[sizeof(types) / sizeof(types[0])] = {
#define WORK_GROUP(ID, params, bytes) [KTSTR_WORK_##ID] = { params, bytes },
#include "work_types.def"
};

static const struct bounds {
	uint32_t type;
	uint64_t low, high;
} bounds[] = {
#define WORK_PARAM(ID, key, name, unit, def, low, high, about) { KTSTR_WORK_##ID, low, high },
#include "work_types.def"
};

const struct work_type *work_type(uint32_t id)
{
	return id < sizeof(types) / sizeof(types[0]) && types[id].ops ? &types[id] : NULL;
}

bool work_params_fit(uint32_t id, const uint64_t *params, uint32_t *wrong)
{
	uint32_t at = 0;

	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		if (bounds[i].type != id)
			continue;
		*wrong = at;
		if (params[at] < bounds[i].low || params[at] > bounds[i].high)
			return false;
		at++;
	}
	for (*wrong = at; *wrong < KTSTR_MAX_PARAMS; ++*wrong)
		if (params[*wrong])
			return false;
	return true;
}

static const struct growth *growth(uint32_t id)
{
	static const struct growth none;

	return id < sizeof(growths) / sizeof(growths[0]) ? &growths[id] : &none;
}

uint32_t work_group(const struct ktstr_work *work)
{
	uint32_t workers = work_type(work->type)->group, params = growth(work->type)->params;

	for (uint32_t i = 0; i < params && i < KTSTR_MAX_PARAMS; i++)
		workers += (uint32_t)work->params[i];
	return workers;
}

size_t work_shared_bytes(const struct ktstr_work *work)
{
	return work_type(work->type)->shared_bytes + (size_t)growth(work->type)->bytes * work_group(work);
}
