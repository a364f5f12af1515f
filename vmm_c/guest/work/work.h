// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_WORK_H
#define KTSTR_WORK_H

#include <errno.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "measure/measure.h"

/* A worker, in a process or thread of its own: what the body of a work type is given. */
struct self {
	struct slot *slot;
	struct measure measure;
	void *state; /* the body's own, from prepare */
	uint64_t blocked_from_ns; /* when the last wait began */
	sigjmp_buf escape;
	volatile sig_atomic_t armed; /* the stop signal may leave what blocks by escape */
	uint64_t switches_before; /* of switches_begin */
};

/*
 * What a work type does: one iteration after another until the worker is told to stop. The framework
 * owns the loop, the measuring, and whatever blocks (block_*). prepare runs before the worker says
 * that it is ready; begin once it is released, which is the first that runs as and where its work says; finish after
 * its last iteration, when it was not killed. All but iterate may be NULL.
 */
struct work_ops {
	bool (*prepare)(struct self *self);
	/* False: there is nothing to iterate. */
	bool (*begin)(struct self *self);
	/* False: it cannot go on, or was stopped in the middle. */
	bool (*iterate)(struct self *self);
	void (*finish)(struct self *self);
};

enum work_flags {
	WORK_WAKES = 1, /* it blocks, and samples how late it was woken */
	WORK_PIPES = 2, /* its group is a pair that has a pipe each way */
	WORK_REQUESTS = 4, /* it samples how long its requests took */
};

/* A row of work_types.def, and what does it. */
struct work_type {
	uint32_t id;
	const char *name;
	uint32_t group; /* how many work together, beside those that numbers say (work_group) */
	uint32_t flags;
	uint32_t shared_bytes; /* likewise (work_shared_bytes) */
	const struct work_ops *ops;
};

/* NULL for a number that is none. */
const struct work_type *work_type(uint32_t id);
/* Whether KTSTR_MAX_PARAMS numbers are within the type's bounds, those it does not take 0; else which is not. */
bool work_params_fit(uint32_t id, const uint64_t *params, uint32_t *wrong);
/* Of a work whose numbers fit: how many of its workers work together, and what memory those share. */
uint32_t work_group(const struct ktstr_work *work);
size_t work_shared_bytes(const struct ktstr_work *work);

static inline bool stopped(const struct self *self)
{
	return atomic_load_explicit(&self->slot->stop, memory_order_relaxed);
}

/* Leave in the slot what could not be done, and errno: the agent says so when the worker ends. Gives false. */
static inline bool work_refuse(struct slot *slot, enum refused what)
{
	slot->error = errno;
	slot->refused = what;
	return false;
}

/* Which: the place of one of its type's counts. */
static inline void tally(struct self *self, uint32_t which, uint64_t more)
{
	self->slot->report.counts[which] += more;
}

/* For prepare: zeros for self->state, to be freed by finish. False: there is no memory, and its slot says so. */
bool work_state(struct self *self, size_t bytes);
/* The same of more memory, each page of it there; NULL where there is none. */
void *work_memory(struct self *self, size_t bytes);

/*
 * How often the kernel switched away from the calling thread since it began because the thread waited (ru_nvcsw of
 * getrusage(2)): a count that does not come from the body. The first is a begin.
 */
bool switches_begin(struct self *self);
uint64_t switches_since(const struct self *self);

/* Units of work between two looks at the clock. */
#define PIECE_UNITS 8192

/*
 * So many units of work, in pieces: additions the compiler must make. There is no pause hint in the
 * loop: an emulator with one thread for all vCPUs takes it as leave to run the others for a full turn
 * each, so that a vCPU which spins starves beside one that does not (stalls of 27 ms instead of 2 ms).
 */
void spin(struct self *self, uint64_t units);

/* What a system call that was given up because the worker is to stop answers. */
#define BLOCK_STOPPED (-ECANCELED)

/*
 * System calls that may block. While they do, neither gap nor CPU time runs; the stop signal ends
 * them wherever it comes. They give 0 or what the call gave, -errno, or BLOCK_STOPPED.
 */
long block_read(struct self *self, int fd, void *ret, size_t bytes);
long block_futex(struct self *self, _Atomic uint32_t *word, uint32_t value);
long block_wait(struct self *self, pid_t child);
/*
 * At a futex, until it has another value, which may be long in coming: samples how long after the stamp at sent_ns,
 * unless that is NULL. Gives 1, or 0 when nobody had to wake it, or BLOCK_STOPPED.
 */
long block_while(struct self *self, _Atomic uint32_t *word, uint32_t value, const _Atomic uint64_t *sent_ns);
/* Any other; what it waits for says nothing of a wakeup. */
long block_call(struct self *self, long number, const long args[6]);
/* CLOCK_MONOTONIC. Samples how late it was, unless until_ns had passed already. */
long block_until(struct self *self, uint64_t until_ns);

/*
 * After a block: sample the time since the wakeup was sent, which the one who sent it stamped just
 * before. A stamp from outside of the wait says that nobody had to be woken.
 */
void woken(struct self *self, uint64_t sent_ns);

/* So many of the sleepers at word. Gives how many there were, as the kernel says. */
uint32_t wake(_Atomic uint32_t *word, uint32_t most);
#define WAKE_ALL INT32_MAX

/* REQUESTS: one of them took so long. */
static inline void requested(struct self *self, uint64_t took_ns)
{
	reservoir_add(&self->slot->requests, took_ns);
}

/*
 * A worker's life, in its own process: tell ready_fd (an eventfd) that it waits, wait for the
 * gate, sleep its start offset, work until stop is set, leave its report in the slot, exit. The
 * stop signal has to be blocked when it begins.
 */
__attribute__((noreturn)) void work_main(struct slot *slot, int ready_fd);

/*
 * A process whose threads are workers: it begins one for each order that it reads, until an order for none. Each
 * leaves its tid in its report and tells ready_fd, waits until it is placed, has such a life, marks its slot as
 * ended, and writes its index to ended_fd.
 */
struct work_order {
	struct slot *slot; /* NULL: exit */
	struct slot *partner; /* of the first of a pair that has pipes */
};

struct work_fds {
	int orders;
	int ready; /* an eventfd */
	int ended; /* a pipe with room for every worker */
};

__attribute__((noreturn)) void work_lead(const char *name, const struct work_fds *fds);

/* It only interrupts what blocks: the flag in the slot is what ends the work. */
#define WORK_STOP_SIGNAL SIGUSR1

#endif
