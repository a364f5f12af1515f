// SPDX-License-Identifier: GPL-2.0-only
#include "pid1/guard.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/run.h"
#include "wire/channel.h"

#define GRACE_NS UINT64_C(6000000000)

__attribute__((noreturn)) static void guard_main(uint64_t when)
{
	struct timespec until = { (time_t)(when / 1000000000), (long)(when % 1000000000) };
	struct sched_param highest = { .sched_priority = 99 };
	struct ktstr_msg_end end = { .status = KTSTR_END_DEADLINE };

	sched_setscheduler(0, SCHED_FIFO, &highest);
	mlockall(MCL_CURRENT); /* no page fault may stand in the way later; the workers' memory is not there yet */
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	end.at_ns = run_at_ns();
	channel_end_from_outside(&end);
	power_off();
}

static pid_t pid;

bool guard_start(uint64_t deadline)
{
	pid = fork();
	if (pid == 0)
		guard_main(deadline + GRACE_NS);
	return pid > 0;
}

void guard_stop(void)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pid = 0;
}
