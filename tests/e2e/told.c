// SPDX-License-Identifier: GPL-2.0-only
/* A scheduler that is never loaded: it says what it was told, and what it finds there. */
#include <stdio.h>
#include <string.h>

static void show(const char *path)
{
	char line[512];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file))
		printf("%s: %s", path, line);
	if (file)
		fclose(file);
	else
		printf("no %s\n", path);
}

int main(int argc, char **argv)
{
	char path[256];

	for (int i = 1; i < argc; i++)
		printf("argument %d: %s\n", i, argv[i]);
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--config") == 0)
			show(argv[i + 1]);
		if (strcmp(argv[i], "--cell-parent-cgroup") == 0) {
			snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.subtree_control", argv[i + 1]);
			show(path);
		}
	}
	return 3;
}
