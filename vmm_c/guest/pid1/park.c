// SPDX-License-Identifier: GPL-2.0-only
/*
 * The watchdog is an ib700 (hw/watchdog/wdt_ib700.c of QEMU), which runs on the guest's own clock: when
 * it fires depends on nothing of the host's.
 */
#include "pid1/park.h"

#include <errno.h>
#include <sys/io.h>
#include <time.h>

#include "base/clock.h"
#include "base/events.h"
#include "proc/scheduler.h"
#include "wire/channel.h"
#include "wire/fw_cfg.h"

#define WATCHDOG_OFF 0x441
#define WATCHDOG_ON 0x443
#define WATCHDOG_2_S 0xe
#define ASLEEP_NS UINT64_C(2100000000) /* over the moment at which it fires */
#define LAST_WORDS_NS UINT64_C(300000000) /* of a scheduler that has just attached */

static void listen_for(uint64_t ns)
{
	uint64_t until = now_ns() + ns;

	while (now_ns() < until)
		events_wait(until);
}

static void sleep_through(uint64_t ns)
{
	struct timespec left = timespec_of(ns);

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

bool park(char *why, size_t why_size)
{
	if (!fw_cfg_open(why, why_size))
		return false;
	if (scheduler_is_attached())
		listen_for(LAST_WORDS_NS);
	scheduler_send_logs();
	channel_send(KTSTR_MSG_READY, NULL, 0, NULL, 0);
	channel_flush();
	outb(WATCHDOG_2_S, WATCHDOG_ON);
	sleep_through(ASLEEP_NS);
	outb(0, WATCHDOG_OFF);
	return true;
}
