// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way out: frames queued in a buffer and written to a virtio port. The state is in memory
 * shared with the deadline guard, which has to go on with the same sequence numbers. What comes in
 * through the port is read by an agent that waits for its program, and by no other.
 */
#include "wire/channel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "base/run.h"
#include "base/smaller.h"
#include "base/sysfile.h"
#include "base/uevent.h"
#include "wire/frame.h"

#define PORT_NAME "ktstr.0"
#define PORTS "/sys/class/virtio-ports"
#define POLL_NS 5000000 /* when the kernel gives no uevents */

struct channel {
	int fd;
	uint32_t seq;
	_Atomic int busy;
	size_t used;
	uint8_t queue[2 * FRAME_MAX_BYTES];
};

static struct channel *channel;

void power_off(void)
{
	for (;;)
		reboot(RB_POWER_OFF);
}

static bool find_port(char *device, size_t size)
{
	DIR *ports = opendir(PORTS);
	struct dirent *entry;
	bool found = false;

	while (ports && !found && (entry = readdir(ports))) {
		char path[320], name[64];

		snprintf(path, sizeof(path), PORTS "/%s/name", entry->d_name);
		found = sysfile_read(path, name, sizeof(name)) > 0 && strcmp(name, PORT_NAME) == 0;
		if (found)
			snprintf(device, size, "/dev/%s", entry->d_name);
	}
	if (ports)
		closedir(ports);
	return found;
}

static bool wait_for_port(uint64_t timeout_ns, char *device, size_t size)
{
	uint64_t until = now_ns() + timeout_ns;
	int uevents = uevent_open(); /* before the first look, so nothing is missed between */
	bool found;

	while (!(found = find_port(device, size)) && now_ns() < until) {
		struct pollfd fd = { .fd = uevents, .events = POLLIN };
		uint64_t slice = uevents >= 0 ? until - now_ns() : POLL_NS;
		struct timespec wait = { (time_t)(slice / 1000000000), (long)(slice % 1000000000) };

		if (ppoll(&fd, uevents >= 0, &wait, NULL) > 0)
			uevent_drain(uevents);
	}
	if (uevents >= 0)
		close(uevents);
	return found;
}

bool channel_open(uint64_t timeout_ns, char *why, size_t why_size)
{
	char device[320];
	int fd;

	if (!wait_for_port(timeout_ns, device, sizeof(device))) {
		snprintf(why, why_size, "no virtio port named " PORT_NAME " after %llu ms",
			 (unsigned long long)timeout_ns / 1000000);
		return false;
	}
	fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		snprintf(why, why_size, "%s: %s", device, strerror(errno));
		return false;
	}
	channel = mmap(NULL, sizeof(*channel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (channel == MAP_FAILED) {
		snprintf(why, why_size, "no memory for the channel");
		return false;
	}
	channel->fd = fd;
	return true;
}

__attribute__((noreturn)) static void channel_lost(const char *why)
{
	printf("ktstr: channel lost: %s\n", why);
	power_off();
}

/* A port takes at most 32 KiB a write, and waits until the host has it. */
static void write_all(const uint8_t *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(channel->fd, data, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			channel_lost(n < 0 ? strerror(errno) : "the port takes no data");
		data += n;
		bytes -= (size_t)n;
	}
}

void channel_flush(void)
{
	atomic_store(&channel->busy, 1);
	write_all(channel->queue, channel->used);
	channel->used = 0;
	atomic_store(&channel->busy, 0);
}

static bool readable(int timeout_ms)
{
	struct pollfd fd = { .fd = channel->fd, .events = POLLIN };
	int n;

	do
		n = poll(&fd, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

void channel_wait(void)
{
	readable(-1);
}

size_t channel_receive(void *ret, size_t bytes, int pause_ms)
{
	size_t got = 0;

	while (got < bytes && readable(pause_ms)) {
		ssize_t n = read(channel->fd, (uint8_t *)ret + got, bytes - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* nor could an Error message be sent */
			channel_lost(n < 0 ? strerror(errno) : "closed before the program had come");
		got += (size_t)n;
	}
	return got;
}

static size_t append(enum ktstr_msg type, const void *head, size_t head_bytes, const void *body,
		     size_t body_bytes)
{
	return frame_build(channel->queue + channel->used, sizeof(channel->queue) - channel->used,
			   (uint16_t)type, channel->seq, head, head_bytes, body, body_bytes);
}

void channel_send(enum ktstr_msg type, const void *head, size_t head_bytes, const void *body,
		  size_t body_bytes)
{
	size_t n;

	if (channel->used > FRAME_MAX_BYTES)
		channel_flush();
	atomic_store(&channel->busy, 1);
	n = append(type, head, head_bytes, body, body_bytes);
	if (n == 0)
		channel_lost("a frame larger than the protocol allows");
	channel->used += n;
	channel->seq++;
	atomic_store(&channel->busy, 0);
}

void channel_send_text(enum ktstr_msg type, const void *head, size_t head_bytes, const char *text,
		       size_t bytes, size_t most)
{
	while (bytes) {
		size_t n = smaller(bytes, most);

		channel_send(type, head, head_bytes, text, n);
		text += n;
		bytes -= n;
	}
}

void channel_end_from_outside(const struct ktstr_msg_end *end)
{
	if (atomic_load(&channel->busy))
		return;
	if (append(KTSTR_MSG_END, end, sizeof(*end), NULL, 0))
		write_all(channel->queue, channel->used + sizeof(struct ktstr_frame_header) + sizeof(*end));
}
