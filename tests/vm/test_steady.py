"""What is loaded into the emulator: how it is built, and that time stands still for whom it is loaded into."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import Changed, HostError, InputError, KtstrError
from ktstr.host.cache import Cache
from ktstr.resources import c_dir
from ktstr.vm import agent
from ktstr.vm.steady import Steady, planned

CC = agent.compiler(os.environ)
THE_GUESTS_YEAR = 1704067200  # date -u -d 2024-01-01 +%s


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Steady:
    steady = planned(c_dir(), CC, Cache(tmp_path_factory.mktemp("cache")))
    steady.build()
    return steady


def copied(folder: Path) -> Path:
    """The sources, to be changed."""
    shutil.copytree(c_dir() / "qemu", folder / "qemu")
    return folder


def run_with(built: Steady, folder: Path, source: str, more: Mapping[str, str] | None = None) -> str:
    """What a C program prints into which it was loaded."""
    command = [
        CC,
        "-O1",
        "-pthread",
        "-rdynamic",
        "-D_GNU_SOURCE",
        "-Wall",
        "-Werror",
        "-x",
        "c",
        "-",
        "-o",
        str(folder / "program"),
    ]
    subprocess.run(command, input=source.encode(), check=True)
    env = {**os.environ, "LD_PRELOAD": str(built.path), **(more or {})}
    done = subprocess.run([folder / "program"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestBuild:
    def test_it_is_made_where_it_was_planned(self, built: Steady) -> None:
        assert built.path.read_bytes()[:4] == b"\x7fELF"
        assert [path.name for path in built.path.parent.iterdir()] == ["steady.so"]

    def test_the_same_source_is_the_same_machine_whoever_compiled_it(self, tmp_path: Path) -> None:
        other = tmp_path / "other-cc"
        other.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo other 1.0 || exec {CC} "$@"\n')
        other.chmod(0o755)
        here, there = (planned(c_dir(), cc, Cache(tmp_path)) for cc in (CC, str(other)))
        assert (here.identity, here.path) == (there.identity, there.path)

    @pytest.mark.parametrize("name", ["steady.c", "moments.c", "moments.h"])
    def test_another_source_is_another_machine(self, tmp_path: Path, name: str) -> None:
        before = planned(copied(tmp_path / "c"), CC, Cache(tmp_path))
        with (tmp_path / "c/qemu" / name).open("a") as file:
            file.write("/* changed */\n")
        after = planned(tmp_path / "c", CC, Cache(tmp_path))
        assert before.identity != after.identity and before.path != after.path

    def test_a_source_that_changed_since_it_was_planned_leaves_nothing(self, tmp_path: Path) -> None:
        steady = planned(copied(tmp_path / "c"), CC, Cache(tmp_path))
        with (steady.c_dir / "qemu/steady.c").open("a") as file:
            file.write("/* changed */\n")
        with pytest.raises(Changed, match=r"c/qemu"):
            steady.build()
        assert list(steady.path.parent.iterdir()) == []

    def test_a_source_that_does_not_compile_is_quoted(self, tmp_path: Path) -> None:
        (copied(tmp_path / "c") / "qemu/steady.c").write_text("int f(void) { return x; }\n")
        steady = planned(tmp_path / "c", CC, Cache(tmp_path))
        with pytest.raises(InputError, match=r"qemu does not compile:\n(.*\n)*.*'x' undeclared"):
            steady.build()
        assert list(steady.path.parent.iterdir()) == []

    def test_what_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        """A file is where its folder would be: root may write to any folder."""
        steady = planned(c_dir(), CC, Cache(tmp_path))
        steady.path.parent.parent.mkdir(parents=True, exist_ok=True)
        steady.path.parent.write_text("in the way")
        with pytest.raises(HostError, match=steady.path.parent.name):
            steady.build()
        assert steady.path.parent.read_text() == "in the way"

    def test_a_full_disk_is_named(self, tmp_path: Path) -> None:
        steady = replace(planned(c_dir(), CC, Cache(tmp_path)), cc=str(tmp_path / "cc"))
        (tmp_path / "cc").write_text("#!/bin/sh\necho cannot write: No space left on device >&2; exit 1\n")
        (tmp_path / "cc").chmod(0o755)
        with pytest.raises(HostError, match="the disk is full"):
            steady.build()
        assert not steady.path.exists()

    def test_cancelled_it_leaves_nothing(self, tmp_path: Path) -> None:
        cancel = Cancel()
        cancel.set()
        steady = planned(c_dir(), CC, Cache(tmp_path))
        with pytest.raises(Cancelled):
            steady.build(cancel)
        assert not list(steady.path.parent.glob("*"))

    def test_a_compiler_that_does_not_run_is_named(self, tmp_path: Path) -> None:
        steady = planned(c_dir(), "/no/such-cc", Cache(tmp_path))
        with pytest.raises(KtstrError, match="/no/such-cc"):
            steady.build()
        assert not steady.path.exists()


CLOCK = r"""
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int main(void)
{
	struct timeval now, later;
	struct timespec real;

	gettimeofday(&now, NULL);
	usleep(20000);
	gettimeofday(&later, NULL);
	clock_gettime(CLOCK_REALTIME, &real);
	printf("%ld.%06ld %ld.%06ld %d\n", (long)now.tv_sec, (long)now.tv_usec, (long)later.tv_sec,
		(long)later.tv_usec, real.tv_sec > now.tv_sec);
	return 0;
}
"""

# The parts of QEMU 10.0 that it reaches into: the vCPUs' thread waits with the big lock, tells of its watchdog on the
# monitor's socket, and gives the lock up; the main loop takes it, and waits with it for the vCPUs it told to stop.
# Prints how many rounds the vCPUs' thread made between telling and that.
STOP = r"""
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
static pthread_mutex_t big = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER, paused = PTHREAD_COND_INITIALIZER;
static int ends[2], going, asked_to_stop, stopped;
static atomic_int rounds;
static void tell(const char *text)
{
	struct iovec part = { (void *)text, strlen(text) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	if (sendmsg(ends[0], &message, 0) < 0)
		abort();
}
static void *vcpus(void *name)
{
	prctl(PR_SET_NAME, name);
	pthread_mutex_lock(&big);
	while (!going)
		pthread_cond_wait(&go, &big);
	tell(getenv("EVENT"));
	for (;;) {
		pthread_mutex_unlock(&big);
		if (atomic_fetch_add(&rounds, 1) > 1000)
			usleep(100);
		pthread_mutex_lock(&big);
		if (asked_to_stop)
			break;
	}
	stopped = 1;
	pthread_cond_signal(&paused);
	pthread_mutex_unlock(&big);
	return NULL;
}
int main(int argc, char **argv)
{
	char text[64];
	pthread_t thread;
	int before;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || pthread_create(&thread, NULL, vcpus, getenv("NAME")))
		return 1;
	usleep(50000);
	pthread_mutex_lock(&big);
	going = 1;
	pthread_cond_signal(&go);
	pthread_mutex_unlock(&big);
	if (read(ends[1], text, sizeof(text)) <= 0)
		return 1;
	usleep(100000); /* a main loop that takes its time */
	pthread_mutex_lock(&big);
	before = atomic_load(&rounds);
	asked_to_stop = 1;
	while (!stopped)
		pthread_cond_wait(&paused, &big);
	pthread_mutex_unlock(&big);
	pthread_join(thread, NULL);
	printf("%d\n", before);
	return argc - 1;
}
"""

# The same: the vCPUs' thread waits with the big lock, and then runs without it for a while. Prints for each way in
# which the main loop takes the lock meanwhile whether that thread still ran when it had it: for nothing; when the
# guest is to end; while somebody who asked has no answer; once he has one, after an event; and when the host ends it
# by a signal.
TURNS = r"""
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
static pthread_mutex_t big = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER;
static int going, ends[2];
static atomic_int running, requested;
int qemu_shutdown_requested_get(void)
{
	return atomic_load(&requested);
}
static void *vcpus(void *name)
{
	prctl(PR_SET_NAME, name);
	for (;;) {
		pthread_mutex_lock(&big);
		while (!going)
			pthread_cond_wait(&go, &big);
		going = 0;
		atomic_store(&running, 1);
		pthread_mutex_unlock(&big);
		usleep(400000);
		atomic_store(&running, 0);
	}
	return NULL;
}
static void pass(int fd, char *text, ssize_t (*way)(int, struct msghdr *, int))
{
	struct iovec part = { text, strlen(text) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	if (way(fd, &message, 0) <= 0)
		abort();
}
static ssize_t say(int fd, struct msghdr *message, int flags)
{
	return sendmsg(fd, message, flags);
}
static void *hear(void *none)
{
	char text[] = "?";
	pass(ends[0], text, recvmsg);
	return none;
}
static void take(void)
{
	pthread_mutex_lock(&big);
	going = 1;
	pthread_cond_signal(&go);
	pthread_mutex_unlock(&big);
	while (!atomic_load(&running))
		usleep(100);
	pthread_mutex_lock(&big);
	printf("%d", atomic_load(&running));
	pthread_mutex_unlock(&big);
	while (atomic_load(&running))
		usleep(1000);
	usleep(20000);
}
int main(void)
{
	pthread_t thread;
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || pthread_create(&thread, NULL, vcpus, getenv("NAME")))
		return 1;
	usleep(20000);
	take();
	atomic_store(&requested, 1);
	take();
	atomic_store(&requested, 0);
	pass(ends[1], "{\n", say);
	if (pthread_create(&thread, NULL, hear, NULL) || pthread_join(thread, NULL))
		return 1;
	pass(ends[0], "{\"timestamp\": {}, \"event\": \"RESUME\"}", say);
	take();
	pass(ends[0], "{\"id\": 1, \"error\": {}}", say);
	if (pthread_create(&thread, NULL, hear, NULL) || pthread_join(thread, NULL)) /* the end of the line */
		return 1;
	take();
	kill(getpid(), SIGTERM);
	take();
	fflush(stdout);
	_exit(0);
}
"""


class TestWhatItDoes:
    def test_time_of_day_stands_still_and_other_clocks_do_not(self, built: Steady, tmp_path: Path) -> None:
        assert run_with(built, tmp_path, CLOCK) == f"{THE_GUESTS_YEAR}.000000 {THE_GUESTS_YEAR}.000000 1\n"

    @pytest.mark.parametrize("_attempt", range(3))
    def test_after_its_watchdog_the_thread_of_the_vcpus_does_nothing_more(
        self, built: Steady, tmp_path: Path, _attempt: int
    ) -> None:
        named = {"NAME": "ALL CPUs/TCG", "EVENT": '{"event": "WATCHDOG"}'}
        assert int(run_with(built, tmp_path, STOP, named)) == 0

    @pytest.mark.parametrize(
        ("name", "event"), [("ALL CPUs/TCG", '{"event": "RESUME"}'), ("CPU 0/TCG", '{"event": "WATCHDOG"}')]
    )
    def test_nothing_else_is_held(self, built: Steady, tmp_path: Path, name: str, event: str) -> None:
        assert int(run_with(built, tmp_path, STOP, {"NAME": name, "EVENT": event})) > 100

    @pytest.mark.parametrize(("name", "ran"), [("ALL CPUs/TCG", "01101"), ("worker", "11111")])
    def test_the_main_loop_has_the_lock_once_the_thread_of_the_vcpus_waits_or_somebody_wants_something_of_it(
        self, built: Steady, tmp_path: Path, name: str, ran: str
    ) -> None:
        assert run_with(built, tmp_path, TURNS, {"NAME": name}) == ran
