// SPDX-License-Identifier: GPL-2.0-only
/* PID 1 of a test machine: run one program, say what happened, power off. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cpulist.h"
#include "base/events.h"
#include "base/run.h"
#include "base/sysfile.h"
#include "ops/execute.h"
#include "ops/verify.h"
#include "pid1/guard.h"
#include "pid1/mounts.h"
#include "proc/cgroup.h"
#include "watch/topology.h"
#include "wire/channel.h"
#include "wire/delivery.h"
#include "wire/errors.h"
#include "worker/worker.h"

#define PROGRAM_PATH "/ktstr/program"
#define PORT_TIMEOUT_NS UINT64_C(5000000000)
#define STOP_NS UINT64_C(5000000000)
#define HOST_NAME "ktstr"

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Programs that ask for it get a name, not "(none)". */
static void set_host_name(void)
{
	if (sethostname(HOST_NAME, strlen(HOST_NAME)) < 0)
		run_error("cannot set the host name: %s", strerror(errno));
}

/* Above all workers, so that no scheduler can keep the agent from the CPU; its children start over. */
static bool become_realtime(void)
{
	struct sched_param highest = { .sched_priority = 99 };

	return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &highest) == 0;
}

/* The whole file, aligned as program_open wants it. */
static const void *read_program(size_t *bytes)
{
	int fd = open(PROGRAM_PATH, O_RDONLY | O_CLOEXEC);
	struct stat status;
	uint8_t *data;

	if (fd < 0 || fstat(fd, &status) < 0) {
		run_error("no program: " PROGRAM_PATH ": %s", strerror(errno));
		return NULL;
	}
	if (status.st_size > KTSTR_MAX_PROGRAM_BYTES) {
		run_error("program of %lld bytes, at most %d", (long long)status.st_size, KTSTR_MAX_PROGRAM_BYTES);
		close(fd);
		return NULL;
	}
	*bytes = (size_t)status.st_size;
	data = malloc(*bytes + 1);
	if (data && read(fd, data, *bytes) != (ssize_t)*bytes) {
		free(data);
		data = NULL;
	}
	close(fd);
	if (!data)
		run_error("cannot read " PROGRAM_PATH);
	return data;
}

static bool waits_for_program(void)
{
	char command_line[4096]; /* twice what x86 takes */

	return sysfile_read("/proc/cmdline", command_line, sizeof(command_line)) > 0 &&
	       delivery_is_asked_for(command_line);
}

static void send_hello(void)
{
	struct ktstr_cpumask online = topology_online();
	struct ktstr_msg_hello hello = { .version = KTSTR_PROTO_VERSION, .cpus = cpumask_count(&online) };
	struct utsname kernel;

	uname(&kernel);
	snprintf(hello.kernel_release, sizeof(hello.kernel_release), "%s", kernel.release);
	channel_send(KTSTR_MSG_HELLO, &hello, sizeof(hello), NULL, 0);
}

/* The program and the time its deadline counts from. Errors are reported. */
static bool get_program(struct program *ret, uint64_t *started)
{
	size_t bytes = 0;
	const void *data;
	char why[256];

	if (waits_for_program()) {
		data = delivery_receive(&bytes);
		*started = now_ns();
	} else {
		data = read_program(&bytes);
	}
	if (data && !program_open(data, bytes, ret, why, sizeof(why)))
		run_error("bad program: %s", why);
	channel_flush();
	return !run_aborting();
}

static void run_program(const struct program *program, uint64_t started)
{
	run_set_deadline(started, program->header->deadline_ns);
	cgroup_setup(program, program->header->flags & KTSTR_PROGRAM_CPU_CONTROLLER);
	run_begin_scenario();
	if (!guard_start(run_deadline()))
		run_error("cannot start the deadline guard: %s", strerror(errno));
	else if (!events_init() || !worker_setup(program))
		run_error("cannot set the agent up: %s", strerror(errno));
	else
		execute(program, STOP_NS);
}

__attribute__((noreturn)) static void end(void)
{
	struct ktstr_msg_end msg = { .at_ns = run_at_ns(), .status = run_status() };

	channel_send(KTSTR_MSG_END, &msg, sizeof(msg), NULL, 0);
	channel_flush();
	power_off();
}

int main(void)
{
	uint64_t started = now_ns();
	struct program program = { 0 };
	char mount_errors[512], why[256];
	bool realtime;

	if (getpid() != 1) {
		fprintf(stderr, "ktstr: this is the init of a test machine; it powers off what it runs on\n");
		return 2;
	}
	mounts_setup(mount_errors, sizeof(mount_errors));
	open_console();
	realtime = become_realtime();
	if (!channel_open(PORT_TIMEOUT_NS, why, sizeof(why))) {
		printf("ktstr: no channel: %s\n", why);
		power_off();
	}
	send_hello();
	topology_send();
	if (mount_errors[0])
		run_error("cannot mount %s", mount_errors);
	if (!realtime)
		run_error("cannot become SCHED_FIFO");
	set_host_name();
	if (!run_aborting() && get_program(&program, &started))
		run_program(&program, started);
	end();
}
