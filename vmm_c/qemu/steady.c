// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded into QEMU when it counts instructions: what a guest sees no longer depends on the host's time.
 *
 * Three things of QEMU 10.0 do. TCG resizes its software TLBs by a window of host time
 * (accel/tcg/cputlb.c, tlb_mmu_resize_locked, which asks gettimeofday): here that time stands still.
 * And when the guest's watchdog stops the machine, the vCPU thread only asks the main loop for it, and
 * goes on until that has told every vCPU (system/cpus.c, vm_stop): here it waits, so that nothing is
 * executed after the instruction at which the watchdog fired.
 * And the main loop, which wakes at moments of the host's, runs the guest's timers and moves its clock on, as the
 * vCPU thread does. Where it comes first between two turns, it makes that thread begin another round of turns
 * (accel/tcg/tcg-accel-ops-rr.c, exit_request), and of vCPUs that are busy at once another one goes first. Here it
 * gets the big lock only while the vCPU thread waits, and then that thread has nothing to do.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
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
#define ANY_EVENT "{\"timestamp\""
#define NAP_NS 10000
#define MOST_NAPS 500000
#define LOOK_NS 2000000 /* how soon the main loop sees that it has to go on though vCPUs run */

enum role { UNKNOWN, VCPU, MAIN_LOOP, OTHER };

static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *);
static int (*real_lock)(pthread_mutex_t *);
static int (*real_unlock)(pthread_mutex_t *);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static int (*ending)(void); /* QEMU's own: why the guest is to end, 0 when it is not */
static pthread_mutex_t *_Atomic big_lock; /* QEMU's own: what the vCPU thread waits with */
static atomic_bool held; /* from the watchdog's event until every vCPU was told to stop */
static atomic_bool asked; /* from a command that came to QEMU until it is answered */
static atomic_int waits = 1; /* whether the vCPU thread waits, with the big lock */
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
	real_lock = (int (*)(pthread_mutex_t *))next("pthread_mutex_lock", NULL);
	real_unlock = (int (*)(pthread_mutex_t *))next("pthread_mutex_unlock", NULL);
	real_sendmsg = (ssize_t (*)(int, const struct msghdr *, int))next("sendmsg", NULL);
	real_recvmsg = (ssize_t (*)(int, struct msghdr *, int))next("recvmsg", NULL);
	*(void **)&ending = dlsym(RTLD_DEFAULT, "qemu_shutdown_requested_get");
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
	int result;

	if (!real_wait)
		find();
	if (my_role() == VCPU) {
		atomic_compare_exchange_strong(&big_lock, &none, mutex);
		moments_begin();
	}
	if (mutex != atomic_load(&big_lock) || my_role() == OTHER)
		return real_wait(condition, mutex);
	if (my_role() == MAIN_LOOP) {
		atomic_store(&held, false);
		return real_wait(condition, mutex);
	}
	atomic_store(&waits, 1);
	syscall(SYS_futex, &waits, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	result = real_wait(condition, mutex);
	atomic_store(&waits, 0);
	return result;
}

/* Whether somebody wants QEMU to end: the guest, or the host by a signal, which the main loop gets by a descriptor. */
static bool is_to_end(void)
{
	sigset_t pending;

	if (ending())
		return true;
	return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 ||
					     sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGHUP) == 1);
}

static bool main_loop_is_wanted(void)
{
	return atomic_load(&waits) || atomic_load(&held) || atomic_load(&asked) || !ending || is_to_end();
}

/* The vCPU thread says with the big lock whether it waits: whoever has that lock knows it. */
int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	const struct timespec look = { 0, LOOK_NS };
	int result;

	if (!real_lock)
		find();
	result = real_lock(mutex);
	if (mutex != atomic_load(&big_lock) || my_role() != MAIN_LOOP)
		return result;
	while (result == 0 && !main_loop_is_wanted()) {
		real_unlock(mutex);
		while (!main_loop_is_wanted())
			syscall(SYS_futex, &waits, FUTEX_WAIT_PRIVATE, 0, &look, NULL, 0);
		result = real_lock(mutex);
	}
	return result;
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

/* Commands come to a thread of their own, which hands them to the main loop. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t n;

	if (!real_recvmsg)
		find();
	n = real_recvmsg(fd, message, flags);
	if (n > 0 && !strchr(" \r\n", *(const char *)message->msg_iov->iov_base))
		atomic_store(&asked, true);
	return n;
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
	if (message->msg_iovlen && first->iov_len > strlen(ANY_EVENT) && *(const char *)first->iov_base == '{' &&
	    memcmp(first->iov_base, ANY_EVENT, strlen(ANY_EVENT)) != 0)
		atomic_store(&asked, false);
	return real_sendmsg(fd, message, flags);
}
