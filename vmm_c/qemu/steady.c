// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded into QEMU when it counts instructions: what a guest sees no longer depends on the host's time.
 *
 * Three things of QEMU 10.0 do. TCG resizes its software TLBs by a window of host time
 * (accel/tcg/cputlb.c, tlb_mmu_resize_locked, which asks gettimeofday): here that time stands still.
 * And when the guest's watchdog stops the machine, the vCPU thread only asks the main loop for it, and
 * goes on until that has told every vCPU (system/cpus.c, vm_stop): here it waits, so that nothing is
 * executed after the instruction at which the watchdog fired. And the main loop, which wakes at moments of
 * the host's, runs the guest's timers too: while the vCPU thread is between two slices it may be quicker, and then
 * the vCPU whose interrupt it raises ends the turn of all (accel/tcg/tcg-accel-ops-rr.c, exit_request). One machine in
 * some thirty came out another way on a loaded host. Here it goes on only while the vCPU thread waits: then
 * nothing but the main loop can move the guest's clock, and it does so at one moment only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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
#define LOOK_NS 2000000 /* how soon the main loop sees that somebody talks to QEMU while vCPUs run */
#define TALK_NS INT64_C(100000000) /* how long it then goes on as it likes, at least: until he has his answer */
#define EVENTFD "anon_inode:[eventfd]"

enum role { UNKNOWN, VCPU, MAIN_LOOP, OTHER };

static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *);
static int (*real_unlock)(pthread_mutex_t *);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static pthread_mutex_t *_Atomic big_lock; /* QEMU's own: what the vCPU thread waits with */
static atomic_bool held; /* from the watchdog's event until every vCPU was told to stop */
static atomic_int waiting = 1; /* whether the vCPU thread waits: nothing is executed */
static int (*real_ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static atomic_bool asked; /* somebody talked to QEMU, and has no answer yet */
static _Atomic int64_t talked_at; /* when he did; ns */
static int (*is_ending)(void); /* QEMU's own: what the guest asked for, which the main loop is to do */
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
	real_ppoll = (int (*)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *))next("ppoll", NULL);
	real_recvmsg = (ssize_t (*)(int, struct msghdr *, int))next("recvmsg", NULL);
	is_ending = (int (*)(void))dlsym(RTLD_DEFAULT, "qemu_shutdown_requested_get");
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

/* The main loop may have something to do. */
static void wake_main_loop(void)
{
	syscall(SYS_futex, &waiting, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
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
		atomic_store(&waiting, 1);
		wake_main_loop();
		result = real_wait(condition, mutex);
		atomic_store(&waiting, 0);
		return result;
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

static int64_t host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Commands come to a thread of their own, which hands them to the main loop. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t n;

	if (!real_recvmsg)
		find();
	n = real_recvmsg(fd, message, flags);
	if (n > 0) {
		atomic_store(&talked_at, host_ns());
		atomic_store(&asked, true);
		wake_main_loop();
	}
	return n;
}

static bool is_eventfd(int fd)
{
	char link[32], target[sizeof(EVENTFD)];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target));
	return n == (ssize_t)strlen(EVENTFD) && memcmp(target, EVENTFD, n) == 0;
}

/*
 * Whether the main loop has anything to do that is not the vCPU thread's. By its eventfd threads of QEMU only say
 * that there may be something. Signals come by a descriptor of their own.
 */
static bool may_go_on(const struct pollfd *fds, nfds_t count, int ready)
{
	pthread_mutex_t *lock = atomic_load(&big_lock);

	if (!lock || lock->__data.__owner == getpid()) /* it has the lock, without which no vCPU goes on */
		return true;
	if (atomic_load(&waiting) || atomic_load(&held) || (is_ending && is_ending()))
		return true;
	if (atomic_load(&asked) || host_ns() - atomic_load(&talked_at) < TALK_NS)
		return true;
	for (nfds_t i = 0; ready > 0 && i < count; i++)
		if (fds[i].revents && !is_eventfd(fds[i].fd))
			return true;
	return ready < 0;
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	const struct timespec now = { 0, 0 }, look = { 0, LOOK_NS };
	int ready;

	if (!real_ppoll)
		find();
	ready = real_ppoll(fds, count, timeout, mask);
	if (my_role() != MAIN_LOOP)
		return ready;
	while (!may_go_on(fds, count, ready)) {
		syscall(SYS_futex, &waiting, FUTEX_WAIT_PRIVATE, 0, &look, NULL, 0);
		ready = real_ppoll(fds, count, &now, mask);
	}
	return ready;
}

/* The watchdog's event is told by the thread in which its timer ran: that of the vCPUs. Answers are others'. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	const struct iovec *first = message->msg_iov;

	if (!real_sendmsg)
		find();
	if (message->msg_iovlen && my_role() == VCPU && atomic_load(&big_lock) &&
	    memmem(first->iov_base, first->iov_len, WATCHDOG_EVENT, strlen(WATCHDOG_EVENT)))
		atomic_store(&held, true);
	if (my_role() != VCPU)
		atomic_store(&asked, false);
	if (atomic_load(&held))
		wake_main_loop();
	return real_sendmsg(fd, message, flags);
}
