// SPDX-License-Identifier: GPL-2.0-only
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"

#define MAX_BYTES (4 << 20)

static char *read_whole(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *text;

	if (fd < 0 || fstat(fd, &status) < 0)
		say_error("%s: %s", path, strerror(errno));
	if (status.st_size <= 0 || status.st_size > MAX_BYTES)
		say_error("%s: found %lld bytes, expected 1 to %d", path, (long long)status.st_size, MAX_BYTES);
	*bytes = (size_t)status.st_size;
	text = malloc(*bytes);
	if (!text || read(fd, text, *bytes) != (ssize_t)*bytes)
		say_error("%s: cannot be read", path);
	close(fd);
	if (text[*bytes - 1] != '\0')
		say_error("%s: its last string does not end", path);
	return text;
}

/* The strings that begin with `kind`, without that letter. */
static char **all_of(char kind, char *text, size_t bytes)
{
	size_t count = 0;
	char **list;

	for (char *at = text; at < text + bytes; at += strlen(at) + 1)
		count += *at == kind;
	list = calloc(count + 1, sizeof(*list));
	if (!list)
		say_error("out of memory");
	count = 0;
	for (char *at = text; at < text + bytes; at += strlen(at) + 1)
		if (*at == kind)
			list[count++] = at + 1;
	return list;
}

static char *first_of(char kind, char *text, size_t bytes)
{
	char **list = all_of(kind, text, bytes);
	char *first = list[0];

	free(list);
	return first;
}

void request_read(const char *path, struct request *ret)
{
	size_t bytes;

	ret->text = read_whole(path, &bytes);
	ret->cwd = first_of('c', ret->text, bytes);
	ret->shared = first_of('s', ret->text, bytes);
	ret->modules = all_of('m', ret->text, bytes);
	ret->environ = all_of('e', ret->text, bytes);
	ret->argv = all_of('a', ret->text, bytes);
	if (!ret->cwd || !ret->argv[0])
		say_error("%s: has no folder or no command", path);
}
