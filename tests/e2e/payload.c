// SPDX-License-Identifier: GPL-2.0-only
/* What tests run in a guest, beside workers or as a scheduler: one program, and what it does is its first argument. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(const char *ms)
{
	long time = atol(ms);
	struct timespec left = { time / 1000, time % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0)
		;
}

/* Writes without end, so many bytes at a time. */
__attribute__((noreturn)) static void write_for_ever(const char *bytes)
{
	static char text[65536];
	size_t size = (size_t)atol(bytes);

	memset(text, 'y', sizeof(text));
	for (size_t i = 63; i < sizeof(text); i += 64)
		text[i] = '\n';
	for (;;)
		if (write(1, text + (size == 1 ? 63 : 0), size) < 0)
			_exit(1);
}

/* The text of a file of one process, or empty. */
static void read_of(const char *pid, const char *file, char *ret, size_t size)
{
	char path[300];
	FILE *stream;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, file);
	stream = fopen(path, "r");
	n = stream ? fread(ret, 1, size - 1, stream) : 0;
	ret[n] = '\0';
	if (stream)
		fclose(stream);
}

/* Of each process but the agent and the kernel's threads: its name, its CPUs and its cgroup, a line each. */
static void list_processes(void)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;

	while (processes && (entry = readdir(processes))) {
		char name[64], status[4096], cgroup[512], *cpus, *kernel;
		const char *pid = entry->d_name;

		if (atoi(pid) <= 1)
			continue;
		read_of(pid, "comm", name, sizeof(name));
		read_of(pid, "cgroup", cgroup, sizeof(cgroup));
		read_of(pid, "status", status, sizeof(status));
		kernel = strstr(status, "Kthread:\t1");
		cpus = strstr(status, "Cpus_allowed_list:\t");
		if (kernel || !cpus)
			continue;
		name[strcspn(name, "\n")] = '\0';
		cpus += strlen("Cpus_allowed_list:\t");
		printf("%s %.*s %s", name, (int)strcspn(cpus, "\n"), cpus, cgroup);
	}
}

static void list_folder(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			printf("%s\n", entry->d_name);
}

/* So many lines, 50 ms between two. */
static void talk(const char *lines)
{
	for (long line = 1; line <= atol(lines); line++) {
		printf("line %ld\n", line);
		fflush(stdout);
		sleep_ms("50");
	}
}

/* A child that does something else, out of reach of signals to our group. */
static void beside(void (*what)(const char *), const char *argument)
{
	if (fork() == 0) {
		setsid();
		what(argument);
		_exit(0);
	}
}

__attribute__((noreturn)) static void spin(void)
{
	for (volatile unsigned long turns = 0;; turns++)
		;
}

/* Ends its parent, as if that had crashed. */
static void kill_parent(const char *ms)
{
	pid_t parent = getppid();

	sleep_ms(ms);
	kill(parent, SIGKILL);
}

/* The time stamp counter, in the kernel's log among what the agent keeps of it: what its stamps count from. */
static void tell_clock(void)
{
	FILE *log = fopen("/dev/kmsg", "w");

	if (!log || fprintf(log, "sched_ext: tsc %llu\n", (unsigned long long)__builtin_ia32_rdtsc()) < 0 || fclose(log))
		exit(1);
}

static void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "", *argument = argc > 2 ? argv[2] : "";

	if (!strcmp(mode, "say"))
		say(argument);
	else if (!strcmp(mode, "say-late")) {
		sleep_ms(argv[3]);
		say(argument);
	} else if (!strcmp(mode, "exit"))
		return atoi(argument);
	else if (!strcmp(mode, "spin"))
		spin();
	else if (!strcmp(mode, "abort"))
		abort();
	else if (!strcmp(mode, "sleep"))
		sleep_ms(argument);
	else if (!strcmp(mode, "write")) {
		for (long line = atol(argument) / 64; line > 0; line--)
			printf("%063ld\n", line);
	} else if (!strcmp(mode, "write-for-ever"))
		write_for_ever(argument);
	else if (!strcmp(mode, "clock"))
		tell_clock();
	else if (!strcmp(mode, "processes"))
		list_processes();
	else if (!strcmp(mode, "folders"))
		list_folder(argument);
	else if (!strcmp(mode, "family")) { /* two more of us, of which one has left our group */
		beside(sleep_ms, "600000");
		fork();
		sleep_ms("600000");
	} else if (!strcmp(mode, "couple")) {
		fork();
		sleep_ms("600000");
	} else if (strstr(mode, "-beside") && argc > 3) { /* then it is another program */
		if (!strcmp(mode, "sleep-beside"))
			beside(sleep_ms, argument);
		else if (!strcmp(mode, "talk-beside") && fork() == 0)
			return talk(argument), 0;
		else if (!strcmp(mode, "write-beside") && fork() == 0)
			write_for_ever(argument);
		else if (!strcmp(mode, "die-beside"))
			beside(kill_parent, argument);
		else if (!strcmp(mode, "go-beside") && fork())
			return 0; /* as a daemon does */
		else if (!strcmp(mode, "deaf-beside") && fork())
			signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN), spin();
		else if (!strcmp(mode, "kill-init-beside"))
			kill(1, SIGKILL), kill(1, SIGTERM);
		execv(argv[3], argv + 3);
		return 126;
	} else {
		fprintf(stderr, "payload: found '%s', expected one of the words in its source\n", mode);
		return 2;
	}
	return 0;
}
