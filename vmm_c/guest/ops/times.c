// SPDX-License-Identifier: GPL-2.0-only
#include "ops/times.h"

#include <stdio.h>

#include "base/events.h"
#include "base/random.h"
#include "base/run.h"
#include "ops/op.h"
#include "proc/scheduler.h"
#include "wire/channel.h"

static struct ktstr_delay drawn[KTSTR_MAX_DELAYS];
static uint32_t draws;

void times_sleep(uint64_t ns)
{
	uint64_t until = now_ns() + ns;

	while (now_ns() < until && !run_aborting()) {
		events_wait(until);
		scheduler_check();
	}
}

void times_send(void)
{
	struct ktstr_msg_delays msg = { draws < KTSTR_MAX_DELAYS ? draws : KTSTR_MAX_DELAYS, draws };

	if (draws)
		channel_send(KTSTR_MSG_DELAYS, &msg, sizeof(msg), drawn, msg.count * sizeof(drawn[0]));
}

static void describe_ns(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	(void)program;
	snprintf(ret, size, "%llu ns", (unsigned long long)op->ns);
}

static void run_hold(const struct moment *now, const struct ktstr_op *op)
{
	(void)now;
	times_sleep(op->ns);
}

const struct op_ops op_hold = { NULL, run_hold, describe_ns };

/* One stream for the whole program: which pass of which op drew what follows from its order. */
static uint64_t draw(const struct moment *now, uint64_t below)
{
	static uint64_t state;
	static bool seeded;
	uint64_t ns;

	if (!seeded)
		state = now->program->header->seed;
	seeded = true;
	ns = random_below(&state, below);
	if (draws < KTSTR_MAX_DELAYS)
		drawn[draws] = (struct ktstr_delay){ .op = now->index, .ns = ns };
	draws++;
	return ns;
}

static void run_delay(const struct moment *now, const struct ktstr_op *op)
{
	times_sleep(op->ns + (op->jitter_ns ? draw(now, op->jitter_ns) : 0));
}

const struct op_ops op_delay = { NULL, run_delay, describe_ns };
