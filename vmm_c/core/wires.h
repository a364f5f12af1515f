// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a device needs of the machine around it. The machine gives the functions and context; a
 * device stores the struct by value. All return 0 or -errno with *err filled.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct wires {
	void *machine;
	/* Give eventfd an ISA interrupt line (irqfd): each write of it is one edge on the GSI. */
	int (*connect_line)(void *machine, uint32_t gsi, int eventfd, struct vmm_error *err);
	/* Make eventfd raise this MSI message (an MSI route and irqfd); slot numbers one vector of the machine. */
	int (*connect_msi)(void *machine, uint32_t slot, uint64_t address, uint32_t data, int eventfd,
			   struct vmm_error *err);
	int (*disconnect_msi)(void *machine, uint32_t slot, int eventfd, struct vmm_error *err);
	/* Guest writes of any width to gpa signal eventfd without leaving the kernel (ioeventfd). */
	int (*set_doorbell)(void *machine, uint64_t gpa, int eventfd, bool on, struct vmm_error *err);
	/* Call ready(device), with the device lock held, whenever fd is readable (the supervisor's epoll). */
	int (*watch)(void *machine, int fd, void (*ready)(void *device), void *device, struct vmm_error *err);
	/* A device asks for the machine's end: reset is 1 for a reset line, 0 for power off. */
	void (*request_end)(void *machine, int reset);
};
