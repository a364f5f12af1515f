// SPDX-License-Identifier: GPL-2.0-only
#include "work/work.h"

#define WORK_TYPE(ID, symbol, number, Name, group, flags, shared, about) extern const struct work_ops work_##symbol;
#define WORK_PARAM(ID, key, name, unit, def, low, high, about)
#include "work_types.def"
#undef WORK_TYPE
#undef WORK_PARAM

#define WAKES WORK_WAKES
#define PIPES WORK_PIPES

static const struct work_type types[] = {
#define WORK_TYPE(ID, symbol, number, Name, group_, flags_, shared, about) \
	[number] = { number, #Name, group_, flags_, shared, &work_##symbol },
#define WORK_PARAM(ID, key, name, unit, def, low, high, about)
#include "work_types.def"
#undef WORK_TYPE
#undef WORK_PARAM
};

static const struct bounds {
	uint32_t type;
	uint64_t low, high;
} bounds[] = {
#define WORK_TYPE(ID, symbol, number, Name, group, flags, shared, about)
#define WORK_PARAM(ID, key, name, unit, def, low, high, about) { KTSTR_WORK_##ID, low, high },
#include "work_types.def"
#undef WORK_TYPE
#undef WORK_PARAM
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
