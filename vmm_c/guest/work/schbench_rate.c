// SPDX-License-Identifier: GPL-2.0-only
/* When requests come. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "work/schbench_rate.h"

/* How often the rate is steered: /proc/stat counts in hundredths of a second. */
#define STEER_NS 200000000
#define FIRST_RATE 10

/* Its first line, of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal (Documentation/filesystems/proc.rst). */
static bool read_load(uint64_t *busy, uint64_t *total)
{
	unsigned long long t[8] = { 0 };
	int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	char text[512] = "";
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	close(fd);
	if (length < 0 ||
	    sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6],
		   &t[7]) != 8)
		return false;
	*total = 0;
	for (size_t i = 0; i < 8; i++)
		*total += t[i];
	*busy = *total - t[3];
	return true;
}

/* By how much the load is off, within a third and three times; near the goal by an eighth of that. */
static double factor(double percent, double goal)
{
	double by = percent > 0 ? goal / percent : 3;

	if (by > 3)
		return 3;
	if (by < 0.3)
		return 0.3;
	return by > 0.9 && by < 1.2 ? 1 + (by - 1) / 8 : by > 0.8 && by < 1.5 ? 1 + (by - 1) / 4 : by;
}

static void begin(struct schbench_rate *rate, uint64_t per_s, uint64_t now)
{
	rate->per_s = per_s ? per_s : 1;
	rate->from_ns = now;
	rate->sent = 0;
}

static void steer(struct schbench_rate *rate, uint64_t goal, uint64_t now)
{
	uint64_t busy, total;

	if (now - rate->looked_ns < STEER_NS || !read_load(&busy, &total))
		return;
	if (rate->looked_ns && total > rate->total)
		begin(rate, (uint64_t)((double)rate->per_s *
				       factor(100.0 * (double)(busy - rate->busy) / (double)(total - rate->total), (double)goal)),
		      now);
	rate->looked_ns = now;
	rate->busy = busy;
	rate->total = total;
}

uint64_t schbench_due(struct schbench_rate *rate, const uint64_t *params, uint64_t now)
{
	uint64_t due;

	if (!rate->per_s)
		begin(rate, params[RPS] ? params[RPS] : FIRST_RATE, now);
	if (params[AUTO_RPS])
		steer(rate, params[AUTO_RPS], now);
	due = (uint64_t)((double)(now - rate->from_ns) / 1e9 * (double)rate->per_s) - rate->sent;
	rate->sent += due;
	return due;
}
