// SPDX-License-Identifier: GPL-2.0-only
/* A program that comes when the machine has booted, with what makes one clone differ from another. */
#include "wire/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "wire/channel.h"
#include "wire/crc32.h"
#include "wire/errors.h"

#define PAUSE_MS 10000 /* longer than any between two pieces of one delivery */

bool delivery_has_word(const char *command_line, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = command_line; (at = strstr(at, word)); at += length)
		if ((at == command_line || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
			return true;
	return false;
}

uint32_t delivery_bytes(const struct ktstr_delivery *head, char *why, size_t why_size)
{
	if (head->magic != KTSTR_DELIVERY_MAGIC)
		snprintf(why, why_size, "magic is %#x, expected %#x", head->magic, KTSTR_DELIVERY_MAGIC);
	else if (head->version != KTSTR_PROTO_VERSION || head->header_bytes != sizeof(*head))
		snprintf(why, why_size, "version %u with a header of %u bytes, expected %u with %zu", head->version,
			 head->header_bytes, KTSTR_PROTO_VERSION, sizeof(*head));
	else if (head->total_bytes < sizeof(*head) ||
		 head->total_bytes > sizeof(*head) + KTSTR_MAX_PROGRAM_BYTES)
		snprintf(why, why_size, "%u bytes, expected %zu to %zu", head->total_bytes, sizeof(*head),
			 sizeof(*head) + KTSTR_MAX_PROGRAM_BYTES);
	else
		return head->total_bytes;
	return 0;
}

bool delivery_is_whole(const struct ktstr_delivery *delivery, char *why, size_t why_size)
{
	size_t before = offsetof(struct ktstr_delivery, crc), after = before + sizeof(delivery->crc);
	uint32_t crc = crc32_update(0, delivery, before);

	crc = crc32_update(crc, (const uint8_t *)delivery + after, delivery->total_bytes - after);
	if (crc != delivery->crc)
		snprintf(why, why_size, "checksum is %#x, expected %#x", crc, delivery->crc);
	return crc == delivery->crc;
}

static bool receive_exactly(void *data, size_t bytes, char *why, size_t why_size)
{
	size_t got = channel_receive(data, bytes, PAUSE_MS);

	if (got < bytes)
		snprintf(why, why_size, "%zu of %zu bytes came, and nothing more for %d s", got, bytes,
			 PAUSE_MS / 1000);
	return got == bytes;
}

static struct ktstr_delivery *receive(char *why, size_t why_size)
{
	struct ktstr_delivery head, *whole;
	uint32_t bytes;

	channel_wait();
	if (!receive_exactly(&head, sizeof(head), why, why_size))
		return NULL;
	bytes = delivery_bytes(&head, why, why_size);
	if (!bytes)
		return NULL;
	whole = malloc(bytes);
	if (!whole) {
		snprintf(why, why_size, "no memory for %u bytes", bytes);
		return NULL;
	}
	memcpy(whole, &head, sizeof(head));
	if (receive_exactly(whole + 1, bytes - sizeof(head), why, why_size) &&
	    delivery_is_whole(whole, why, why_size))
		return whole;
	free(whole);
	return NULL;
}

/* Mixed in and counted as entropy, then used at once: what the kernel had, the other clones have too. */
static bool add_randomness(const uint8_t *randomness)
{
	union {
		struct rand_pool_info info;
		uint8_t bytes[sizeof(struct rand_pool_info) + KTSTR_RANDOMNESS_BYTES];
	} pool = { .info = { .entropy_count = 8 * KTSTR_RANDOMNESS_BYTES, .buf_size = KTSTR_RANDOMNESS_BYTES } };
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	bool added;

	memcpy(pool.bytes + sizeof(pool.info), randomness, KTSTR_RANDOMNESS_BYTES);
	added = fd >= 0 && ioctl(fd, RNDADDENTROPY, &pool) == 0 && ioctl(fd, RNDRESEEDCRNG) == 0;
	if (fd >= 0)
		close(fd);
	return added;
}

static bool set_clock(uint64_t realtime_ns)
{
	struct timespec now = { (time_t)(realtime_ns / 1000000000), (long)(realtime_ns % 1000000000) };

	return clock_settime(CLOCK_REALTIME, &now) == 0;
}

const void *delivery_receive(size_t *program_bytes)
{
	const struct ktstr_delivery *delivery;
	char why[128];

	channel_send(KTSTR_MSG_READY, NULL, 0, NULL, 0);
	channel_flush();
	delivery = receive(why, sizeof(why));
	if (!delivery) {
		run_error("bad delivery: %s", why);
		return NULL;
	}
	if (!add_randomness(delivery->randomness))
		run_error("cannot give the kernel the delivery's randomness: %s", strerror(errno));
	if (!set_clock(delivery->realtime_ns))
		run_error("cannot set the clock to %llu ns: %s", (unsigned long long)delivery->realtime_ns,
			  strerror(errno));
	*program_bytes = delivery->total_bytes - sizeof(*delivery);
	return delivery + 1;
}
