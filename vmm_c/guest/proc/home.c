// SPDX-License-Identifier: GPL-2.0-only
#include "proc/home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sysfile.h"

/* As ktstr/schedulers/surroundings.py has them. */
#define HOME "/sched"
#define OTHER HOME "/other/"
#define MAX_HOME 128 /* bytes of its path */
#define MAX_VARIABLES 256

static void find(const char *program, char *ret, size_t size)
{
	const char *end = NULL;

	if (!strncmp(program, OTHER, strlen(OTHER)))
		end = strchr(program + strlen(OTHER), '/');
	if (end && (size_t)(end - program) < size)
		snprintf(ret, size, "%.*s", (int)(end - program), program);
	else
		snprintf(ret, size, "%s", HOME);
}

/* NAME=VALUE, one a line; nothing in an image that does not say it. */
static const char *const *environment(const char *path)
{
	static const char *variables[MAX_VARIABLES + 1];
	static char *text;
	char *rest, *line;
	size_t count = 0;

	free(text);
	rest = text = sysfile_read_whole(path);
	while (rest && count < MAX_VARIABLES && (line = strsep(&rest, "\n")))
		if (*line)
			variables[count++] = line;
	variables[count] = NULL;
	return variables;
}

void home_find(struct process_spec *spec)
{
	static char folder[MAX_HOME + sizeof("/files")];
	char home[MAX_HOME], path[MAX_HOME + sizeof("/environment")];

	find(spec->argv[0], home, sizeof(home));
	snprintf(path, sizeof(path), "%s/environment", home);
	snprintf(folder, sizeof(folder), "%s/files", home);
	spec->environment = environment(path);
	spec->folder = access(folder, X_OK) == 0 ? folder : NULL;
}
