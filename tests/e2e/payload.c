// SPDX-License-Identifier: GPL-2.0-only
/* What tests run in a guest, beside workers or as a scheduler: one program, and what it does is its first argument. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

static const char *policy_of(pid_t tid)
{
	static const char *const names[] = { "normal", "fifo", "rr", "batch", "", "idle", "deadline", "ext" };
	int policy = sched_getscheduler(tid) & ~SCHED_RESET_ON_FORK;

	return policy >= 0 && policy < 8 ? names[policy] : "";
}

static int has_own_namespace(const char *task)
{
	char path[300], ours[64] = "", its[64] = "";

	snprintf(path, sizeof(path), "/proc/%s/ns/cgroup", task);
	return readlink("/proc/self/ns/cgroup", ours, 63) > 0 && readlink(path, its, 63) > 0 && strcmp(ours, its) != 0;
}

/* Of each task of a process: what that and it are called, its CPUs, policy, and whether it has a namespace. */
static void list_tasks_of(const char *pid, const char *process)
{
	char path[300], name[64], status[4096];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		const char *tid = entry->d_name, *cpus;

		read_of(tid, "comm", name, sizeof(name));
		read_of(tid, "status", status, sizeof(status));
		cpus = strstr(status, "Cpus_allowed_list:\t");
		if (atoi(tid) <= 1 || !cpus || strstr(status, "Kthread:\t1"))
			continue;
		name[strcspn(name, "\n")] = '\0';
		cpus += strlen("Cpus_allowed_list:\t");
		printf("%s > %s %.*s %s%s\n", process, name, (int)strcspn(cpus, "\n"), cpus, policy_of(atoi(tid)),
		       has_own_namespace(tid) ? " apart" : "");
	}
	if (tasks)
		closedir(tasks);
}

static void list_tasks(void)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;

	while (processes && (entry = readdir(processes))) {
		char name[64];

		if (atoi(entry->d_name) <= 1)
			continue;
		read_of(entry->d_name, "comm", name, sizeof(name));
		name[strcspn(name, "\n")] = '\0';
		list_tasks_of(entry->d_name, name);
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

/* A number in a file, or -1. */
static double number_in(const char *path)
{
	FILE *file = fopen(path, "r");
	double number = -1;

	if (file && fscanf(file, "%lf", &number) != 1)
		number = -1;
	if (file)
		fclose(file);
	return number;
}

/* What a benchmark prints: its progress, then numbers, of a file, of an included one, and of how it was started. */
static int bench(const char *path, const char *code)
{
	const char *greeting = getenv("GREETING");

	fprintf(stderr, "bench: reading %s\n", path);
	printf("warming up\n{\"run\": {\"number\": %g, \"included\": %g}, \"greeting\": %zu, \"ok\": true,\n"
	       " \"started\": [%d, %d, %ld]}\n",
	       number_in(path), number_in("/include-files/extra/number"), greeting ? strlen(greeting) : 0,
	       sched_getscheduler(0), getpriority(PRIO_PROCESS, 0), sysconf(_SC_NPROCESSORS_ONLN));
	fprintf(stderr, "bench: done, leaving with %s\n", code ? code : "0");
	return code ? atoi(code) : 0;
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
	else if (!strcmp(mode, "bench"))
		return bench(argument, argc > 3 ? argv[3] : NULL);
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
	else if (!strcmp(mode, "tasks"))
		list_tasks();
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
