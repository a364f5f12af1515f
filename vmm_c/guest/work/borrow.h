// SPDX-License-Identifier: GPL-2.0-only
/* A file that a worker opened before its gate, and others of its group write to. */
#ifndef KTSTR_WORK_BORROW_H
#define KTSTR_WORK_BORROW_H

#include "work/work.h"

/* In the memory of the group. */
struct lent {
	_Atomic uint32_t pid; /* futex: whose, 0 before there is one */
	int32_t fd;
};

/* From prepare. */
void lend(struct lent *lent, int fd);
/* From begin: as this process has it, -1 when it cannot be had or the worker was stopped. */
int borrow(struct self *self, struct lent *lent);

#endif
