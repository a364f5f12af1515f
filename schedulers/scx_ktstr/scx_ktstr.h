/* SPDX-License-Identifier: GPL-2.0-only */
/* What the BPF half and the loader of scx_ktstr share. */
#ifndef SCX_KTSTR_H
#define SCX_KTSTR_H

enum {
	KTSTR_REASON_LEN = 128,
	KTSTR_MSG_LEN = 1024,
	KTSTR_CGROUP_LEN = 64,
	KTSTR_MAX_CPUS = 512,
};

/*
 * Why the kernel let go of the scheduler, copied from struct scx_exit_info.
 * kind is written last: a reader that sees it non-zero sees the rest.
 */
struct ktstr_exit {
	int kind;
	int is_error;
	long long code;
	char reason[KTSTR_REASON_LEN];
	char msg[KTSTR_MSG_LEN];
};

#endif
