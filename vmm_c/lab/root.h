/* SPDX-License-Identifier: GPL-2.0-only */
/* The root that commands see: the host's, read-only over 9p, below a layer in memory that takes writes. */
#ifndef KTSTR_LAB_ROOT_H
#define KTSTR_LAB_ROOT_H

/* What is needed before modules are loaded: /proc, /sys and /dev of the initramfs. */
void root_early(void);

/* Build the root and move into it; `shared` (NULL: none) is where writes reach the host. */
void root_enter(const char *shared);

#endif
