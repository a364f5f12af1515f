// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "moments.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PERIOD_NS INT64_C(100000000)
#define VIRTUAL_CLOCK 1 /* QEMU_CLOCK_VIRTUAL of include/qemu/timer.h: what the guest's instructions make pass */
#define ONE_NS 1
#define GO_ON 1
#define REGISTERS 2
#define MAX_CPUS 4096 /* of q35 */
#define TIMER_BYTES 48 /* struct QEMUTimer; there is room for a larger one */

/*
 * The big lock is held throughout. The main loop could otherwise move the clock of a machine whose vCPUs all
 * sleep on to its next timer before their thread has come to wait, and another turn of theirs would come of it.
 */
static int64_t timer[4 * TIMER_BYTES / sizeof(int64_t)]; /* zero, as timer_init_full wants it */
static void (*set_timer)(void *timer, int64_t at_ns);
static int64_t (*clock_ns)(int clock);
static void *(*cpu_at)(int index);
static void (*dump)(void *cpu, FILE *to, int flags);
static int host = -1; /* a socket; -1 when nobody looks */

static void nobody_looks(void)
{
	close(host);
	host = -1;
}

static bool tell(const void *data, size_t bytes)
{
	ssize_t n;

	do
		n = send(host, data, bytes, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)bytes;
}

static bool tell_registers(void *cpu)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *to = open_memstream(&text, &bytes);
	bool told = false;

	if (to) {
		dump(cpu, to, 0);
		told = fclose(to) == 0 && tell(text, bytes);
	}
	free(text);
	return told;
}

/* What the host wants: 0 when it is gone. */
static char heard(void)
{
	char wish = 0;
	ssize_t n;

	do
		n = recv(host, &wish, sizeof(wish), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(wish) ? wish : 0;
}

/* Say which moment it is, and stand still until it has been looked at. */
static void show(int64_t now)
{
	bool here = tell(&now, sizeof(now));
	char wish = 0;

	while (here && (wish = heard()) == REGISTERS)
		for (int index = 0; here && index < MAX_CPUS; index++)
			here = !cpu_at(index) || tell_registers(cpu_at(index)); /* numbers have gaps where LLCs differ */
	if (wish != GO_ON)
		nobody_looks();
}

static void on_moment(void *context)
{
	int64_t now = clock_ns(VIRTUAL_CLOCK);

	(void)context;
	set_timer(timer, (now / PERIOD_NS + 1) * PERIOD_NS);
	if (host >= 0)
		show(now);
}

static bool find_timers(void (**init)(void *, void *, int, int, int, void (*)(void *), void *))
{
	*(void **)init = dlsym(RTLD_DEFAULT, "timer_init_full");
	*(void **)&set_timer = dlsym(RTLD_DEFAULT, "timer_mod_ns");
	*(void **)&clock_ns = dlsym(RTLD_DEFAULT, "qemu_clock_get_ns");
	*(void **)&cpu_at = dlsym(RTLD_DEFAULT, "qemu_get_cpu");
	*(void **)&dump = dlsym(RTLD_DEFAULT, "cpu_dump_state");
	return *init && set_timer && clock_ns && cpu_at && dump;
}

void moments_begin(void)
{
	void (*init)(void *timer, void *group, int clock, int scale, int attributes, void (*call)(void *),
		     void *context);
	const char *fd = getenv("KTSTR_MOMENTS");
	static bool begun;

	if (begun)
		return;
	begun = true;
	if (!find_timers(&init)) {
		if (!fd)
			return;
		fprintf(stderr, "ktstr: this emulator has no timers for us: its moments cannot be looked at\n");
		abort();
	}
	if (fd)
		host = atoi(fd);
	init(timer, NULL, VIRTUAL_CLOCK, ONE_NS, 0, on_moment, NULL);
	set_timer(timer, 0); /* the first one is where the machine begins, or goes on */
}
