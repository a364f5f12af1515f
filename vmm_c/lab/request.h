/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host wants run, from a file of the initramfs: strings, each ended by a NUL,
 * that begin with one letter: c the folder to run in, s the folder shared for writing (none: no such
 * string), m a module in the order to load, e NAME=VALUE for the environment, a a word of the command.
 */
#ifndef KTSTR_LAB_REQUEST_H
#define KTSTR_LAB_REQUEST_H

#include <stddef.h>

struct request {
	char *text; /* owns all strings below */
	char *cwd;
	char *shared; /* NULL for none */
	char **modules; /* these three end with NULL */
	char **environ;
	char **argv;
};

/* Says an error, which ends the lab, for one that is damaged. */
void request_read(const char *path, struct request *ret);

#endif
