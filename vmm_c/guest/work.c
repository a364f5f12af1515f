// SPDX-License-Identifier: GPL-2.0-only
/* The kinds of work. Each loop is one outer iteration after another until stop is set. */
#include "work.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"
#include "run.h"

#define SPINS 1024
/* Only so that a stop which came between the test of the flag and the call is not lost. */
#define BLOCK_MS 100

static bool stopped(const struct measure *m)
{
	return atomic_load_explicit(&m->arena->stop, memory_order_relaxed);
}

/*
 * One unit of work each: an addition the compiler must make. There is no pause hint in the loop: an
 * emulator with one thread for all vCPUs takes it as leave to run the others for a full turn each, so
 * that a vCPU which spins starves beside one that does not (stalls of 27 ms instead of 2 ms).
 */
static void spin(struct measure *m, uint64_t spins)
{
	for (uint64_t i = 0; i < spins; i++) {
		m->units++;
		__asm__ volatile("" : "+m"(m->units));
	}
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT, value, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void sleep_ns(uint64_t ns)
{
	struct timespec time = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	nanosleep(&time, NULL); /* the stop signal cuts it short, as it should */
}

static void work_spin_wait(struct measure *m)
{
	while (!stopped(m)) {
		spin(m, SPINS);
		measure_iteration(m);
	}
}

static void work_yield_heavy(struct measure *m)
{
	while (!stopped(m)) {
		m->units++;
		sched_yield();
		measure_iteration(m);
	}
}

static void work_mixed(struct measure *m)
{
	while (!stopped(m)) {
		spin(m, SPINS);
		sched_yield();
		measure_iteration(m);
	}
}

/* params: burst ns of wall time, sleep ns. The gap spans both: a bursty task does owe its sleep. */
static void work_bursty(struct measure *m)
{
	const uint64_t *params = m->arena->params;

	while (!stopped(m)) {
		uint64_t began = now_ns();

		measure_restart_piece(m);
		while (!stopped(m) && now_ns() - began < params[0]) {
			spin(m, SPINS);
			measure_piece(m);
		}
		if (!stopped(m)) {
			uint64_t slept = now_ns();

			sleep_ns(params[1]);
			if (!stopped(m))
				measure_wake(m, now_ns() - slept);
		}
		measure_restart_piece(m);
		measure_iteration(m);
	}
}

static bool await_byte(struct measure *m)
{
	struct pollfd fd = { .fd = m->arena->read_fd, .events = POLLIN };
	char byte;

	while (!stopped(m))
		if (poll(&fd, 1, BLOCK_MS) > 0)
			return read(fd.fd, &byte, 1) == 1;
	return false;
}

/* params: spins before each exchange of one byte with the partner. */
static void work_pipe_io(struct measure *m)
{
	while (!stopped(m)) {
		uint64_t wrote;

		spin(m, m->arena->params[0]);
		measure_block(m);
		if (write(m->arena->write_fd, "x", 1) != 1)
			return;
		wrote = now_ns();
		if (!await_byte(m))
			return;
		measure_wake(m, now_ns() - wrote);
		measure_restart(m);
		measure_iteration(m);
	}
}

/* params: spins a turn. The word holds the place whose turn it is. */
static void work_futex_ping_pong(struct measure *m)
{
	_Atomic uint32_t *word = &m->arena->leader->word;
	uint32_t own = m->arena->place, partner = 1 - own;
	const struct timespec slice = { 0, BLOCK_MS * 1000000L };

	while (!stopped(m)) {
		uint64_t waited;

		spin(m, m->arena->params[0]);
		measure_block(m);
		atomic_store(word, partner);
		futex_wake(word);
		waited = now_ns();
		while (atomic_load(word) != own) {
			if (stopped(m))
				return;
			futex_wait(word, partner, &slice);
		}
		measure_wake(m, now_ns() - waited);
		measure_restart(m);
		measure_iteration(m);
	}
}

static void work_fork_exit(struct measure *m)
{
	while (!stopped(m)) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		m->units++;
		if (child > 0) {
			uint64_t waited = now_ns();

			while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
				;
			measure_wake(m, now_ns() - waited);
		}
		measure_iteration(m);
	}
}

static void work_loop(struct measure *m)
{
	switch ((enum ktstr_work)m->arena->work_type) {
	case KTSTR_WORK_SPIN_WAIT:
		work_spin_wait(m);
		break;
	case KTSTR_WORK_YIELD_HEAVY:
		work_yield_heavy(m);
		break;
	case KTSTR_WORK_MIXED:
		work_mixed(m);
		break;
	case KTSTR_WORK_BURSTY:
		work_bursty(m);
		break;
	case KTSTR_WORK_PIPE_IO:
		work_pipe_io(m);
		break;
	case KTSTR_WORK_FUTEX_PING_PONG:
		work_futex_ping_pong(m);
		break;
	case KTSTR_WORK_FORK_EXIT:
		work_fork_exit(m);
		break;
	}
}

static void ignore_signal(int signal)
{
	(void)signal;
}

static void set_signals(void)
{
	struct sigaction stop = { .sa_handler = ignore_signal }; /* no SA_RESTART: it has to interrupt */
	sigset_t none;

	sigaction(WORK_STOP_SIGNAL, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The kernel's messages then name the worker by its index. */
static void set_name(uint32_t index)
{
	char name[16];

	snprintf(name, sizeof(name), "worker/%u", index);
	prctl(PR_SET_NAME, name);
}

void work_main(struct worker_arena *arena, int ready_fd)
{
	const uint64_t one = 1;
	struct measure m;

	set_signals();
	set_name(arena->report.index);
	measure_prepare(&m, arena);
	if (write(ready_fd, &one, sizeof(one)) != sizeof(one))
		_exit(1);
	while (!atomic_load(&arena->gate) && !atomic_load(&arena->stop))
		futex_wait(&arena->gate, 0, NULL);
	if (!atomic_load(&arena->gate))
		_exit(0); /* stopped before it was released: it has nothing to report */
	if (arena->start_offset_ns)
		sleep_ns(arena->start_offset_ns);
	measure_begin(&m, arena->release_ns + arena->start_offset_ns);
	work_loop(&m);
	measure_end(&m);
	_exit(0);
}
