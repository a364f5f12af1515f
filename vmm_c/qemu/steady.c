// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded into QEMU when it counts instructions: what a guest sees no longer depends on the host's time.
 *
 * Two things of QEMU 10.0 do. TCG resizes its software TLBs by a window of host time
 * (accel/tcg/cputlb.c, tlb_mmu_resize_locked, which asks gettimeofday): here that time stands still.
 * And when the guest's watchdog stops the machine, the vCPU thread only asks the main loop for it, and
 * goes on until that has told every vCPU (system/cpus.c, vm_stop): here it waits, so that nothing is
 * executed after the instruction at which the watchdog fired.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "moments.h"

#define NOW_S 1704067200 /* 2024-01-01, as the guest's clock has it */
#define VCPU_THREAD "ALL CPUs" /* how the one thread of all vCPUs is called (debug-threads=on) */
#define WATCHDOG_EVENT "\"WATCHDOG\""
#define NAP_NS 10000
#define MOST_NAPS 500000

enum role { UNKNOWN, VCPU, MAIN_LOOP, OTHER };

static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *);
static int (*real_unlock)(pthread_mutex_t *);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static pthread_mutex_t *_Atomic big_lock; /* QEMU's own: what the vCPU thread waits with */
static atomic_bool held; /* from the watchdog's event until every vCPU was told to stop */
static __thread enum role role;

static void *next(const char *name, const char *version)
{
	void *found = version ? dlvsym(RTLD_NEXT, name, version) : dlsym(RTLD_NEXT, name);

	if (!found) {
		fprintf(stderr, "ktstr: no %s in the C library\n", name);
		abort();
	}
	return found;
}

__attribute__((constructor)) static void find(void)
{
	/* The version that glibc has had since 2003 on x86-64; an older one of that name takes another struct. */
	real_wait = (int (*)(pthread_cond_t *, pthread_mutex_t *))next("pthread_cond_wait", "GLIBC_2.3.2");
	real_unlock = (int (*)(pthread_mutex_t *))next("pthread_mutex_unlock", NULL);
	real_sendmsg = (ssize_t (*)(int, const struct msghdr *, int))next("sendmsg", NULL);
}

static enum role my_role(void)
{
	char name[17] = "";

	if (role != UNKNOWN)
		return role;
	prctl(PR_GET_NAME, name);
	if (strncmp(name, VCPU_THREAD, strlen(VCPU_THREAD)) == 0)
		role = VCPU;
	else if (syscall(SYS_gettid) == getpid())
		role = MAIN_LOOP;
	else
		return OTHER; /* a thread gets its name after its first steps */
	return role;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	(void)zone;
	*now = (struct timeval){ .tv_sec = NOW_S };
	return 0;
}

/* The vCPU thread waits with the big lock; the main loop does when it waits for vCPUs that it told to stop. */
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	pthread_mutex_t *none = NULL;

	if (!real_wait)
		find();
	if (my_role() == VCPU) {
		atomic_compare_exchange_strong(&big_lock, &none, mutex);
		moments_begin();
	} else if (my_role() == MAIN_LOOP && mutex == atomic_load(&big_lock)) {
		atomic_store(&held, false);
	}
	return real_wait(condition, mutex);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	struct timespec nap = { 0, NAP_NS };
	int result;

	if (!real_unlock)
		find();
	result = real_unlock(mutex);
	if (!atomic_load_explicit(&held, memory_order_relaxed) || mutex != atomic_load(&big_lock) || my_role() != VCPU)
		return result;
	for (int naps = 0; atomic_load(&held); naps++) {
		if (naps == MOST_NAPS) {
			fprintf(stderr, "ktstr: the main loop did not stop the vCPUs\n");
			abort();
		}
		nanosleep(&nap, NULL);
	}
	return result;
}

/* The event is told by the thread in which the watchdog's timer ran: that of the vCPUs. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	const struct iovec *first = message->msg_iov;

	if (!real_sendmsg)
		find();
	if (message->msg_iovlen && my_role() == VCPU && atomic_load(&big_lock) &&
	    memmem(first->iov_base, first->iov_len, WATCHDOG_EVENT, strlen(WATCHDOG_EVENT)))
		atomic_store(&held, true);
	return real_sendmsg(fd, message, flags);
}
