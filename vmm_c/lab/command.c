// SPDX-License-Identifier: GPL-2.0-only
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "say.h"

#define NOT_FOUND 127
#define NOT_RUN 126
#define PIPE_BYTES 65536 /* its capacity, pipe(7) */

static _Noreturn void become(const struct request *request, int out)
{
	sigset_t none;
	int nothing = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(nothing, 0);
	dup2(out, 1);
	dup2(out, 2);
	environ = request->environ;
	if (chdir(request->cwd) < 0) {
		fprintf(stderr, "lab: %s: %s\n", request->cwd, strerror(errno));
		_exit(NOT_RUN);
	}
	execvp(request->argv[0], request->argv);
	fprintf(stderr, "lab: %s: %s\n", request->argv[0], strerror(errno));
	_exit(errno == ENOENT ? NOT_FOUND : NOT_RUN);
}

/* False when nothing is there. */
static bool pass_on(int in, int out)
{
	char chunk[PIPE_BYTES];
	ssize_t got = read(in, chunk, sizeof(chunk));

	for (ssize_t done = 0; done < got;) {
		ssize_t wrote = write(out, chunk + done, (size_t)(got - done));

		if (wrote < 0 && errno != EINTR)
			say_error("output port: %s", strerror(errno));
		done += wrote > 0 ? wrote : 0;
	}
	return got > 0;
}

/* Reap whatever ended, adopted orphans too; true with the command's status when it is among them. */
static bool reaped(pid_t command, int *status)
{
	bool ended = false;
	int one;
	pid_t pid;

	while ((pid = waitpid(-1, &one, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		*status = one;
		ended = true;
	}
	return ended;
}

/* A pipe, not the port itself, is the command's output: a port can be open once only. */
int command_run(const struct request *request, int out)
{
	struct signalfd_siginfo info;
	int ends[2], signals, status = 0;
	sigset_t child;
	pid_t pid;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		say_error("cannot start the command: %s", strerror(errno));
	if (pid == 0)
		become(request, ends[1]);
	close(ends[1]);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (!reaped(pid, &status)) {
		struct pollfd fds[] = { { .fd = signals, .events = POLLIN }, { .fd = ends[0], .events = POLLIN } };

		poll(fds, 2, -1);
		if (fds[0].revents && read(signals, &info, sizeof(info)) < 0 && errno != EAGAIN)
			say_error("signalfd: %s", strerror(errno));
		if (fds[1].revents && !pass_on(ends[0], out) && (fds[1].revents & POLLHUP)) {
			/* All writers are gone before the command: only its end is left to wait for. */
			waitpid(pid, &status, 0);
			return status;
		}
	}
	/* What is in the pipe fits one read; an orphan may go on writing, but not be waited for. */
	pass_on(ends[0], out);
	return status;
}
