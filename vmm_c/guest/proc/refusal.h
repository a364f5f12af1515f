// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_REFUSAL_H
#define KTSTR_REFUSAL_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

/*
 * What a loader asked of the kernel with bpf(2), and the last of it that was refused.
 *
 * Loaders try what a kernel can do, and are refused that, and go on: so a refusal counts only for as
 * long as nothing is made after it.
 */
#define REFUSAL_MAPS 128 /* whose names are kept, by descriptor */

struct refusal {
	uint32_t calls;
	uint32_t command; /* KTSTR_REFUSED_NOTHING when none stands */
	int32_t error;
	char name[BPF_OBJ_NAME_LEN];
	size_t log_bytes;
	char log[KTSTR_MAX_TEXT_BYTES];
	char maps[REFUSAL_MAPS][BPF_OBJ_NAME_LEN];
};

/* One call and how it ended: what it made, or the negative error number. attr holds zeros where it was shorter. */
void refusal_take(struct refusal *refusal, uint32_t command, const union bpf_attr *attr, long result);
/* Whether the call is one whose refusal ends a loader. */
bool refusal_matters(uint32_t command);
/* The next piece of the log of the call that was refused: of all of them the last whole lines stay. */
void refusal_log(struct refusal *refusal, const char *text, size_t bytes);
/* Of the log what is kept, from the begin of a line. */
const char *refusal_words(const struct refusal *refusal, size_t *bytes);

#endif
