// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_UEVENT_H
#define KTSTR_UEVENT_H

/*
 * The kernel's announcements of devices and kobjects. They only wake the agent up: what happened
 * is always read from sysfs. Returns a non-blocking descriptor, or -1 where there is no netlink.
 */
int uevent_open(void);
void uevent_drain(int fd);

#endif
