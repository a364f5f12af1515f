// SPDX-License-Identifier: GPL-2.0-only
#include <sys/syscall.h>
#include <unistd.h>

#include "work/borrow.h"

void lend(struct lent *lent, int fd)
{
	lent->fd = fd;
	atomic_store(&lent->pid, (uint32_t)getpid());
	wake(&lent->pid, WAKE_ALL);
}

int borrow(struct self *self, struct lent *lent)
{
	int process, fd = -1;

	if (block_while(self, &lent->pid, 0, NULL) == BLOCK_STOPPED)
		return -1;
	process = (int)syscall(SYS_pidfd_open, atomic_load(&lent->pid), 0);
	if (process >= 0) {
		fd = (int)syscall(SYS_pidfd_getfd, process, lent->fd, 0);
		close(process);
	}
	if (fd < 0)
		work_refuse(self->slot, REFUSED_PARTNER);
	return fd;
}
