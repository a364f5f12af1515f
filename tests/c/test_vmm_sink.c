// SPDX-License-Identifier: GPL-2.0-only
/* What becomes of a guest's output: in files, and where nobody reads it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <termios.h>

#include "vmm_test.h"

TEST(sink_stops_at_its_limit_and_counts)
{
	int fd = output_file();
	struct sink sink;

	sink_init(&sink, fd, 10);
	sink_write(&sink, (const uint8_t *)"1234567", 7);
	CHECK(sink.error == 0);
	sink_write(&sink, (const uint8_t *)"890abc", 6);
	sink_write(&sink, (const uint8_t *)"d", 1);
	CHECK(sink.error == EFBIG && sink.written == 10 && sink.dropped == 4);
	check_output(fd, "1234567890");
	close(fd);
}

TEST(sink_remembers_the_first_error)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct sink sink;

	CHECK(fd >= 0);
	sink_init(&sink, fd, 100);
	sink_write(&sink, (const uint8_t *)"abc", 3);
	close(fd);
	sink_write(&sink, (const uint8_t *)"de", 2);
	CHECK(sink.error == ENOSPC && sink.written == 0 && sink.dropped == 5);
}

/* Bytes that tell their place. */
static void fill(uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
}

/* All that is there, and then what the sink still has, until nothing more comes. */
static size_t read_drained(struct sink *sink, int fd, uint8_t *ret, size_t room)
{
	size_t got = 0;

	do {
		struct pollfd ready = { .fd = fd, .events = POLLIN };

		while (got < room && poll(&ready, 1, 0) > 0) {
			ssize_t n = read(fd, ret + got, room - got);

			CHECK(n > 0);
			got += (size_t)n;
		}
	} while (sink_drain(sink) || (got < room && poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0) > 0));
	return got;
}

/* More than an unread reader's fd and the queue take, in lines as the console writes them; then all that was kept. */
static void check_unread(int reader, int writer)
{
	enum { BYTES = 3 * SINK_QUEUE_BYTES };
	static uint8_t sent[BYTES], got[BYTES];
	int flags = fcntl(writer, F_GETFL);
	struct sink sink;
	size_t kept;

	fill(sent, BYTES);
	sink_init(&sink, writer, 1 << 30);
	CHECK(sink_poll_fd(&sink) >= 0 && sink_poll_fd(&sink) != writer);
	for (size_t done = 0; done < BYTES; done += 512)
		sink_write(&sink, sent + done, 512);
	kept = sink.written + SINK_QUEUE_BYTES;
	CHECK(sink.error == EAGAIN && sink.dropped == BYTES - kept && sink.dropped > 0);
	CHECK(read_drained(&sink, reader, got, BYTES) == kept && memcmp(got, sent, kept) == 0);
	CHECK(sink.written == kept);
	sink_write(&sink, sent, 600); /* who reads again gets what comes then */
	CHECK(read_drained(&sink, reader, got, BYTES) == 600 && memcmp(got, sent, 600) == 0);
	CHECK(sink.written == kept + 600 && sink.dropped == BYTES - kept);
	CHECK(fcntl(writer, F_GETFL) == flags);
	sink_deinit(&sink);
}

TEST(sink_does_not_wait_for_the_reader_of_a_pipe)
{
	int fds[2];

	alarm(30);
	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	check_unread(fds[0], fds[1]);
}

TEST(sink_does_not_wait_for_the_reader_of_a_socket)
{
	int fds[2];

	alarm(30);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	check_unread(fds[0], fds[1]);
}

/* Ctrl-S, and then Ctrl-Q. */
TEST(sink_does_not_wait_for_a_terminal_that_is_stopped)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), screen;
	struct termios raw;
	struct sink sink;
	uint8_t text[3000], got[sizeof(text)];

	alarm(30);
	CHECK(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	screen = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(screen >= 0 && tcgetattr(screen, &raw) == 0);
	cfmakeraw(&raw);
	CHECK(tcsetattr(screen, TCSANOW, &raw) == 0 && tcflow(screen, TCOOFF) == 0);
	fill(text, sizeof(text));
	sink_init(&sink, screen, 1 << 20);
	sink_write(&sink, text, sizeof(text));
	CHECK(sink.written == 0 && sink.count == sizeof(text) && sink.error == 0);
	CHECK(tcflow(screen, TCOON) == 0);
	CHECK(read_drained(&sink, terminal, got, sizeof(got)) == sizeof(text) && memcmp(got, text, sizeof(text)) == 0);
	sink_deinit(&sink);
}

TEST(sink_counts_what_waits_toward_its_limit)
{
	static uint8_t text[100000], got[sizeof(text)];
	struct sink sink;
	int fds[2];

	alarm(30);
	CHECK(pipe2(fds, O_CLOEXEC) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 4096) == 4096);
	fill(text, sizeof(text));
	sink_init(&sink, fds[1], 90000);
	sink_write(&sink, text, 60000);
	CHECK(sink.written == 4096 && sink.count == 60000 - 4096 && sink.error == 0 && sink.dropped == 0);
	sink_write(&sink, text + 60000, 40000);
	sink_write(&sink, text, 1);
	CHECK(sink.error == EFBIG && sink.dropped == 10001);
	CHECK(read_drained(&sink, fds[0], got, sizeof(got)) == 90000 && memcmp(got, text, 90000) == 0);
	CHECK(sink.written == 90000 && sink.count == 0);
	sink_deinit(&sink);
}

TEST(sink_whose_reader_goes_away_drops_what_waits)
{
	static const uint8_t text[9000];
	struct sink sink;
	int fds[2];

	alarm(30);
	signal(SIGPIPE, SIG_IGN);
	CHECK(pipe2(fds, O_CLOEXEC) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 4096) == 4096);
	sink_init(&sink, fds[1], 1 << 20);
	sink_write(&sink, text, sizeof(text));
	close(fds[0]);
	sink_write(&sink, text, 5);
	CHECK(sink.error == EPIPE && sink.written == 4096 && sink.dropped == sizeof(text) - 4096 + 5 && sink.count == 0);
	sink_deinit(&sink);
}

/* Another user's: it cannot be opened again, as when a daemon gave it. */
TEST(sink_asks_a_pipe_that_cannot_be_opened_again)
{
	static uint8_t text[2 * SINK_QUEUE_BYTES];
	struct sink sink;
	int fds[2];

	alarm(30);
	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	sink_init(&sink, fds[1], 1 << 30);
	sink.kind = SINK_SHARED;
	close(sink.fd);
	sink.fd = dup(fds[1]);
	sink_write(&sink, text, sizeof(text));
	CHECK(sink.error == EAGAIN && sink.written >= 4096 && sink.count == SINK_QUEUE_BYTES);
	CHECK(read_drained(&sink, fds[0], text, sizeof(text)) == sink.written && sink.count == 0);
	sink_deinit(&sink);
}
