// SPDX-License-Identifier: GPL-2.0-only
#include "proc/tracee.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS                                                                                       \
	(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | \
	 PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC)
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define SYSCALL_BYTES 2 /* of the instruction */
#define LOG_BYTES (1 << 20)
#define LOG_LEVEL 5 /* include/linux/bpf_verifier.h: BPF_LOG_LEVEL1 | BPF_LOG_STATS */
#define MOST_LOG_BYTES (64 << 20) /* of what a loader supplied: the end of it may be far */

/* Not process_vm_readv(2), which minimal kernels lack (CONFIG_CROSS_MEMORY_ATTACH). */
static int open_memory(pid_t tid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	return open(path, O_RDWR | O_CLOEXEC);
}

static ssize_t peek(pid_t tid, uint64_t from, void *ret, size_t bytes)
{
	int fd = open_memory(tid);
	ssize_t n = fd < 0 ? -1 : pread(fd, ret, bytes, (off_t)from);

	if (fd >= 0)
		close(fd);
	return n;
}

static bool poke(pid_t tid, uint64_t to, const void *data, size_t bytes)
{
	int fd = open_memory(tid);
	bool good = fd >= 0 && pwrite(fd, data, bytes, (off_t)to) == (ssize_t)bytes;

	if (fd >= 0)
		close(fd);
	return good;
}

/* A text in the tracee, to its end or so many bytes. */
static void read_log(pid_t tid, uint64_t from, uint64_t most, struct refusal *refusal)
{
	char text[4096];

	if (most > MOST_LOG_BYTES)
		most = MOST_LOG_BYTES;
	while (most) {
		size_t in_page = sizeof(text) - (from & (sizeof(text) - 1));
		ssize_t n = peek(tid, from, text, in_page < most ? in_page : most);
		size_t length;

		if (n <= 0)
			return;
		length = strnlen(text, (size_t)n);
		refusal_log(refusal, text, length);
		if (length < (size_t)n)
			return;
		from += (uint64_t)n;
		most -= (uint64_t)n;
	}
}

/* On to where the next system call begins or ends. False when it ended itself instead. */
static bool await_syscall_stop(pid_t tid)
{
	int status;

	do {
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) < 0)
			return false;
		while (waitpid(tid, &status, __WALL) < 0)
			if (errno != EINTR)
				return false;
		if (!WIFSTOPPED(status))
			return false;
	} while (WSTOPSIG(status) != SYSCALL_STOP);
	return true;
}

/* Have a process that has just left a system call do another one. */
static long call(pid_t tid, const struct user_regs_struct *at, long number, const uint64_t args[6])
{
	struct user_regs_struct regs = *at;

	regs.rip -= SYSCALL_BYTES;
	regs.rax = (uint64_t)number;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = args[0];
	regs.rsi = args[1];
	regs.rdx = args[2];
	regs.r10 = args[3];
	regs.r8 = args[4];
	regs.r9 = args[5];
	if (ptrace(PTRACE_SETREGS, tid, 0, &regs) < 0 || !await_syscall_stop(tid) || !await_syscall_stop(tid) ||
	    ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
		return -ESRCH;
	return (long)regs.rax;
}

/* Load the program again with a log of ours; it is refused again, and that is not told to the loader. */
static void load_with_log(pid_t tid, const struct user_regs_struct *at, union bpf_attr attr, struct refusal *refusal)
{
	const uint64_t room[6] = { 0, LOG_BYTES + sizeof(attr), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   (uint64_t)-1, 0 };
	long made, base = call(tid, at, SYS_mmap, room);
	uint64_t again[6] = { BPF_PROG_LOAD, (uint64_t)base + LOG_BYTES, at->rdx };

	if (base > 0) {
		attr.log_level = LOG_LEVEL;
		attr.log_size = LOG_BYTES;
		attr.log_buf = (uint64_t)base;
		if (poke(tid, again[1], &attr, sizeof(attr))) {
			made = call(tid, at, SYS_bpf, again);
			if (made >= 0)
				call(tid, at, SYS_close, (const uint64_t[6]){ (uint64_t)made });
			read_log(tid, (uint64_t)base, LOG_BYTES, refusal);
		}
		call(tid, at, SYS_munmap, (const uint64_t[6]){ (uint64_t)base, room[1] });
	}
	ptrace(PTRACE_SETREGS, tid, 0, at);
}

static void look_at(pid_t tid, struct refusal *refusal)
{
	struct user_regs_struct regs;
	union bpf_attr attr;
	size_t bytes;

	if (ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0 || regs.orig_rax != SYS_bpf)
		return;
	bytes = regs.rdx < sizeof(attr) ? regs.rdx : sizeof(attr);
	memset(&attr, 0, sizeof(attr));
	peek(tid, regs.rsi, &attr, bytes); /* what nobody can read the kernel refused too: EFAULT */
	refusal_take(refusal, (uint32_t)regs.rdi, &attr, (long)regs.rax);
	if (regs.rdi != BPF_PROG_LOAD || (long)regs.rax >= 0)
		return;
	if (attr.log_level && attr.log_buf)
		read_log(tid, attr.log_buf, attr.log_size, refusal);
	else if (regs.rdx >= offsetof(union bpf_attr, kern_version) && regs.rdx <= sizeof(attr))
		load_with_log(tid, &regs, attr, refusal);
}

/* Gives the signal that it goes on with. */
static int on_stop(pid_t tid, int status, struct refusal *refusal)
{
	struct __ptrace_syscall_info info;
	int signal = WSTOPSIG(status);

	if (signal == SYSCALL_STOP) {
		if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 && info.op == PTRACE_SYSCALL_INFO_EXIT)
			look_at(tid, refusal);
		return 0;
	}
	return status >> 16 ? 0 : signal;
}

int tracee_follow(pid_t pid, int go, struct refusal *refusal, int *status)
{
	pid_t tid;
	int how;

	if (ptrace(PTRACE_SEIZE, pid, 0, OPTIONS) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
		return errno;
	if (write(go, "", 1) != 1)
		return errno;
	while ((tid = waitpid(-1, &how, __WALL)) > 0 || errno == EINTR) {
		if (tid <= 0)
			continue;
		if (WIFSTOPPED(how)) {
			ptrace(PTRACE_SYSCALL, tid, 0, on_stop(tid, how, refusal));
		} else if (tid == pid) {
			*status = how;
			return 0;
		}
	}
	return errno;
}
