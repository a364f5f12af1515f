// SPDX-License-Identifier: GPL-2.0-only
/* PID 1 of a test machine: run one program, say what happened, power off. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cpulist.h"
#include "base/events.h"
#include "base/run.h"
#include "ops/execute.h"
#include "pid1/guard.h"
#include "pid1/intake.h"
#include "pid1/mounts.h"
#include "proc/cgroup.h"
#include "watch/topology.h"
#include "wire/channel.h"
#include "wire/errors.h"
#include "worker/worker.h"

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

static void send_hello(void)
{
	struct ktstr_cpumask online = topology_online();
	struct ktstr_msg_hello hello = { .version = KTSTR_PROTO_VERSION, .cpus = cpumask_count(&online) };
	struct utsname kernel;

	uname(&kernel);
	snprintf(hello.kernel_release, sizeof(hello.kernel_release), "%s", kernel.release);
	channel_send(KTSTR_MSG_HELLO, &hello, sizeof(hello), NULL, 0);
}

/* At once: when the guest dies, what it was doing is told by when it died. */
static void send_begin(void)
{
	struct ktstr_msg_begin begin = { .tsc = __builtin_ia32_rdtsc() };

	channel_send(KTSTR_MSG_BEGIN, &begin, sizeof(begin), NULL, 0);
	channel_flush();
}

/* Within so long from when it began, or the run is over. */
static bool set_limit(const struct program *program, uint64_t started)
{
	run_set_deadline(started, program->header->deadline_ns);
	run_begin_scenario();
	if (guard_start(run_deadline()))
		return true;
	run_error("cannot start the deadline guard: %s", strerror(errno));
	return false;
}

/* What all programs for this machine have in common; false when that failed, and there is nothing to come. */
static bool set_up(void)
{
	static struct program setup;

	if (!events_init()) {
		run_error("cannot set the agent up: %s", strerror(errno));
		return false;
	}
	cgroup_make_parent();
	if (intake_setup(&setup) && set_limit(&setup, now_ns())) {
		execute_setup(&setup, STOP_NS);
		guard_stop();
		run_set_deadline(0, UINT64_MAX);
	}
	return !run_aborting();
}

static void run_program(const struct program *program, uint64_t started)
{
	cgroup_setup(program);
	if (!set_limit(program, started))
		return;
	send_begin();
	if (!worker_setup(program))
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
	if (!run_aborting() && set_up() && intake_program(&program, &started))
		run_program(&program, started);
	end();
}
