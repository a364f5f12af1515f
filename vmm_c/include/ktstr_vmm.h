// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktstr's virtual machine on KVM: the whole public interface, plain enough for cffi to read.
 *
 * One machine per struct vmm. Every function may be called from any thread, but vmm_destroy only
 * when no other call is left. Functions that can fail give 0 or -errno and fill *err. No thread of
 * the caller ever runs guest code, and no signal disposition of the process is changed.
 */
#ifndef KTSTR_VMM_H
#define KTSTR_VMM_H

#include <stddef.h>
#include <stdint.h>

/* Why something failed: an errno value and one sentence that names the operation and the cause. */
struct vmm_error {
	int code;
	char text[256];
};

enum vmm_vendor { VMM_VENDOR_HOST, VMM_VENDOR_INTEL, VMM_VENDOR_AMD };

enum vmm_flag {
	VMM_REALTIME_HINT = 1, /* the guest is told that its CPUs are never taken away */
	VMM_KEEP_PAUSE = 2, /* PAUSE stays in the guest */
	VMM_KEEP_HALT = 4, /* so does HLT: an idle guest CPU takes all of its host CPU */
	VMM_HUGE_PAGES = 8, /* memory from the pool of 2 MiB pages */
	VMM_POPULATE = 16, /* all memory is there before the guest starts */
};

struct vmm_config {
	const char *kernel; /* path of an ELF vmlinux or a bzImage */
	const char *const *initrd; /* paths of its parts, in order */
	uint32_t initrd_parts;
	const char *command_line;
	/* The topology NnLlCcTt; l counts all LLCs. */
	uint32_t nodes, llcs, cores, threads;
	const uint8_t *distances; /* nodes x nodes as in SLIT, or NULL: 10 and 20 */
	/* Where they differ, both or neither: the cores of each LLC, of which cores is the most; and the LLCs of each node. */
	const uint32_t *llc_cores, *node_llcs;
	uint64_t memory_bytes;
	const uint64_t *node_bytes; /* what each node has of it, or NULL: an even share */
	uint32_t vendor; /* enum vmm_vendor */
	uint32_t flags; /* of enum vmm_flag */
	/*
	 * Where output goes: the caller's fds, -1 for nowhere, and how much at most. All of it reaches a regular file.
	 * Nothing waits for who reads a pipe, terminal or socket: 256 KiB are kept for them, what is more is dropped.
	 */
	int console_fd;
	int channel_fd;
	uint64_t console_limit;
	uint64_t channel_limit;
	uint64_t deadline_ms; /* of host time from vmm_start; 0 for none */
	/* Performance mode. Each may be NULL or 0. */
	const int32_t *pin; /* host CPU of each vCPU, -1 anywhere */
	const uint64_t *node_masks; /* host NUMA nodes (0 to 63) of each guest node's memory, 0 any */
	uint32_t fifo_priority; /* SCHED_FIFO for vCPU threads; the supervisor gets one more */
	/*
	 * Go on from a snapshot rather than boot: both fds, which may be 0, or -1 for none. Topology, memory, vendor and
	 * flags have to be as the saved machine's; kernel, initrd and command_line are not read, and the guest's clocks
	 * go on from the moment it was saved. What the memory file holds is read into memory of its own.
	 */
	int snapshot_memory_fd;
	int snapshot_state_fd;
};

enum vmm_reason {
	VMM_RUNNING,
	VMM_POWER_OFF, /* the guest turned itself off */
	VMM_RESET, /* the guest asked for a reset: how a kernel that panics ends with panic=-1 */
	VMM_TRIPLE_FAULT,
	VMM_INTERNAL_ERROR, /* KVM met an instruction or state it cannot handle */
	VMM_FAIL_ENTRY, /* the CPU refused the guest's state */
	VMM_STOPPED, /* vmm_stop or vmm_destroy */
	VMM_DEADLINE,
	VMM_HOST_ERROR, /* the machine could not go on, through no fault of the guest */
};

struct vmm_exit {
	uint32_t reason; /* enum vmm_reason */
	int32_t code; /* errno of a host error, KVM's suberror or hardware reason, else 0 */
	int32_t cpu; /* the vCPU that met it, -1 none */
	char text[256];
};

struct vmm_registers {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base, fs_base, gs_base;
	uint32_t cs, ss;
};

/* Of one vCPU's thread, in nanoseconds. */
struct vmm_times {
	uint64_t cpu_ns; /* it ran on a host CPU */
	uint64_t wait_ns; /* it was runnable and waited for one */
};

/* One number that KVM keeps (KVM_GET_STATS_FD): halts, exits, signals, page faults, ... */
struct vmm_stat {
	char name[64];
	uint64_t value;
};

/*
 * What became of output. error is an errno value: EFBIG when the limit was reached, EAGAIN when some was dropped
 * as nobody read it. Dropped is also what was not read soon after the end.
 */
struct vmm_output {
	uint64_t written;
	uint64_t dropped;
	int32_t error;
};

/* RAM of one guest NUMA node, without a gap. */
struct vmm_piece {
	uint64_t address; /* guest physical */
	uint64_t bytes;
	const void *host; /* where it is in this process: valid until vmm_destroy, also while the guest writes to it */
	uint32_t node;
};

struct vmm;

/* NULL with *err filled. The machine is complete and stands still; the fds have to outlive it. */
struct vmm *vmm_create(const struct vmm_config *config, struct vmm_error *err);
/* Stops the machine if need be; leaves no thread, mapping or fd. NULL is allowed. */
void vmm_destroy(struct vmm *vmm);
/* Once per machine. */
int vmm_start(struct vmm *vmm, struct vmm_error *err);
/* Block until the machine ended or timeout_ms passed (negative: for ever). 1 when it ended; else 0. */
int vmm_wait(struct vmm *vmm, int64_t timeout_ms, struct vmm_exit *ret);
/* Ask for the end; vmm_wait says when. Does nothing to a machine that ended. */
void vmm_stop(struct vmm *vmm);
/* No guest code runs from the return of vmm_pause to as many vmm_resume. -ESRCH when it has ended. */
int vmm_pause(struct vmm *vmm, struct vmm_error *err);
void vmm_resume(struct vmm *vmm);
/* Force all vCPUs out of guest mode once; they go on by themselves. */
void vmm_kick(struct vmm *vmm);
/*
 * Write a machine that was started to two empty files: its memory, where what is zero is a hole, and all else.
 * It is paused meanwhile and goes on. Of one that was paused before, regular files then hold all that it has sent, and
 * what a clone writes follows that. A clone's vmm_create says -EINVAL for the state of another machine or build, of
 * another CPU model, or one that was damaged.
 */
int vmm_snapshot(struct vmm *vmm, int memory_fd, int state_fd, struct vmm_error *err);

uint32_t vmm_cpus(const struct vmm *vmm);
/* Pauses for a moment unless paused. Works after the end, too. */
int vmm_registers(struct vmm *vmm, uint32_t cpu, struct vmm_registers *ret, struct vmm_error *err);
int vmm_times(struct vmm *vmm, uint32_t cpu, struct vmm_times *ret, struct vmm_error *err);
/*
 * Fills up to capacity of the numbers of a vCPU, for which it pauses as vmm_registers does, or of the
 * VM for cpu -1; gives how many there are, or -errno.
 */
int vmm_stats(struct vmm *vmm, int32_t cpu, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err);

/* Guest memory: up to capacity of its pieces by rising address, and how many there are. They are always the same. */
uint32_t vmm_pieces(const struct vmm *vmm, struct vmm_piece *ret, uint32_t capacity);
int vmm_read(struct vmm *vmm, uint64_t address, void *ret, uint64_t bytes, struct vmm_error *err);
int vmm_write(struct vmm *vmm, uint64_t address, const void *data, uint64_t bytes, struct vmm_error *err);

/* Send to the guest, on the channel or as typed at its console: how many bytes fit. */
size_t vmm_send(struct vmm *vmm, const void *data, size_t bytes);
size_t vmm_type(struct vmm *vmm, const void *data, size_t bytes);
void vmm_console_output(struct vmm *vmm, struct vmm_output *ret);
void vmm_channel_output(struct vmm *vmm, struct vmm_output *ret);
/* Sentences, a line each: performance options the host refused, a device that broke. Empty when all is well. */
void vmm_warnings(struct vmm *vmm, char *ret, size_t bytes);

#endif
