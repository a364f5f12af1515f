// SPDX-License-Identifier: GPL-2.0-only
/* Where programs come from: the initramfs, a delivery on the channel, or QEMU's fw_cfg. */
#include "pid1/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/run.h"
#include "base/sysfile.h"
#include "ops/verify.h"
#include "pid1/park.h"
#include "wire/channel.h"
#include "wire/delivery.h"
#include "wire/errors.h"
#include "wire/fw_cfg.h"

#define SETUP_PATH "/ktstr/setup"
#define PROGRAM_PATH "/ktstr/program"
#define PROGRAM_FILE "opt/ktstr/program"
#define WAIT_ARGUMENT "ktstr.wait"
#define PARK_ARGUMENT "ktstr.park"

/* The whole file, aligned as program_open wants it. */
static const void *read_file(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	uint8_t *data;

	if (fd < 0 || fstat(fd, &status) < 0) {
		run_error("no program: %s: %s", path, strerror(errno));
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
		run_error("cannot read %s", path);
	return data;
}

static const void *pull_parked(size_t *bytes)
{
	char why[256];
	const void *data;

	if (!park(why, sizeof(why))) {
		channel_send(KTSTR_MSG_UNPARKED, NULL, 0, why, strlen(why));
		run_abort(KTSTR_END_ERROR);
		return NULL;
	}
	data = fw_cfg_fetch(PROGRAM_FILE, KTSTR_MAX_PROGRAM_BYTES, bytes, why, sizeof(why));
	fw_cfg_close();
	if (!data)
		run_error("no program: %s", why);
	return data;
}

static bool open_program(const void *data, size_t bytes, struct program *ret)
{
	char why[256];

	if (data && !program_open(data, bytes, ret, why, sizeof(why)))
		run_error("bad program: %s", why);
	channel_flush();
	return !run_aborting();
}

bool intake_setup(struct program *ret)
{
	size_t bytes = 0;
	const void *data;

	if (access(SETUP_PATH, F_OK) < 0)
		return false;
	data = read_file(SETUP_PATH, &bytes);
	return open_program(data, bytes, ret);
}

bool intake_program(struct program *ret, uint64_t *started)
{
	char line[4096]; /* the kernel's command line: twice what x86 takes */
	size_t bytes = 0;
	const void *data;

	if (sysfile_read("/proc/cmdline", line, sizeof(line)) < 0)
		line[0] = '\0';
	if (delivery_has_word(line, PARK_ARGUMENT)) {
		data = pull_parked(&bytes);
		*started = now_ns();
	} else if (delivery_has_word(line, WAIT_ARGUMENT)) {
		data = delivery_receive(&bytes);
		*started = now_ns();
	} else {
		data = read_file(PROGRAM_PATH, &bytes);
	}
	return open_program(data, bytes, ret);
}
