/* SPDX-License-Identifier: GPL-2.0-only */
/* Virtio console ports by name; there is no udev here to make links of them. */
#ifndef KTSTR_LAB_PORT_H
#define KTSTR_LAB_PORT_H

/* A descriptor open for writing, close-on-exec, or -1 when no such port came up in time. */
int port_open(const char *name);

#endif
