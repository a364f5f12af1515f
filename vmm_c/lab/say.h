/* SPDX-License-Identifier: GPL-2.0-only */
/* How the lab ends: one line to the host on the port "lab.status", then power off. */
#ifndef KTSTR_LAB_SAY_H
#define KTSTR_LAB_SAY_H

/* "exit N" or "signal N" by a wait status. */
_Noreturn void say_ended(int wait_status);

/* "error TEXT": the lab itself could not do it. */
_Noreturn void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
