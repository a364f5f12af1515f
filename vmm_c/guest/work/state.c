// SPDX-License-Identifier: GPL-2.0-only
/* The memory of a body's own. */
#include <stdlib.h>
#include <string.h>

#include "work/work.h"

bool work_state(struct self *of, size_t bytes)
{
	return (of->state = work_memory(of, bytes));
}

void *work_memory(struct self *of, size_t bytes)
{
	void *memory = malloc(bytes);

	if (!memory) {
		work_refuse(of->slot, REFUSED_MEMORY);
		return NULL;
	}
	return memset(memory, 0, bytes); /* which touches it, unlike calloc */
}
