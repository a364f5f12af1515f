// SPDX-License-Identifier: GPL-2.0-only
/* A scheduler that attaches to nothing: it tells what it finds, or takes all memory, or does nothing for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

static void show(const char *path)
{
	char line[512];
	FILE *file = fopen(path, "r");

	if (!file) {
		printf("no %s\n", path);
		return;
	}
	while (fgets(line, sizeof(line), file))
		printf("%s", line);
	fclose(file);
}

static void look(const char *path)
{
	char text[512];
	struct utsname kernel;

	uname(&kernel);
	gethostname(text, sizeof(text));
	printf("host %s\n", text);
	printf("folder %s\n", getcwd(text, sizeof(text)));
	for (char **variable = environ; *variable; variable++)
		printf("env %s\n", *variable);
	show(path);
	show("/proc/mounts");
	snprintf(text, sizeof(text), "/boot/config-%s", kernel.release);
	printf("config %s\n", access(text, R_OK) == 0 ? text : "missing");
	printf("\033[31mred\033[0m\n");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(what, "look") == 0) {
		look(argv[2]);
		return 3;
	}
	while (strcmp(what, "eat") == 0) {
		char *memory = malloc(1 << 20);

		if (memory)
			memset(memory, 1, 1 << 20);
	}
	printf("loading\n");
	pause();
	return 0;
}
