// SPDX-License-Identifier: GPL-2.0-only
#include "gate.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static int init_condition(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;
	int rc = pthread_condattr_init(&attributes);

	if (rc)
		return rc;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	rc = pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
	return rc;
}

int gate_init(struct gate *gate, struct vmm_error *err)
{
	int rc;

	*gate = (struct gate){ .holds = 1 };
	atomic_init(&gate->closed, true);
	rc = pthread_mutex_init(&gate->lock, NULL);
	rc = rc ?: init_condition(&gate->changed);
	return rc ? error_set(err, rc, "creating a condition variable: %s", strerror(rc)) : 0;
}

void gate_deinit(struct gate *gate)
{
	pthread_cond_destroy(&gate->changed);
	pthread_mutex_destroy(&gate->lock);
}

/* With the lock held. */
static bool enter_locked(struct gate *gate)
{
	while (gate->holds && !gate->stopping)
		pthread_cond_wait(&gate->changed, &gate->lock);
	if (!gate->stopping)
		gate->inside++;
	return !gate->stopping;
}

bool gate_enter(struct gate *gate)
{
	bool in;

	pthread_mutex_lock(&gate->lock);
	in = enter_locked(gate);
	pthread_mutex_unlock(&gate->lock);
	return in;
}

bool gate_pass(struct gate *gate)
{
	bool in;

	if (!atomic_load_explicit(&gate->closed, memory_order_acquire))
		return true;
	pthread_mutex_lock(&gate->lock);
	gate->inside--;
	pthread_cond_broadcast(&gate->changed);
	in = enter_locked(gate);
	pthread_mutex_unlock(&gate->lock);
	return in;
}

void gate_release(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	if (gate->holds && --gate->holds == 0 && !gate->stopping) {
		atomic_store_explicit(&gate->closed, false, memory_order_release);
		pthread_cond_broadcast(&gate->changed);
	}
	pthread_mutex_unlock(&gate->lock);
}

void gate_end(struct gate *gate, const struct vmm_exit *exit)
{
	pthread_mutex_lock(&gate->lock);
	if (!gate->stopping)
		gate->exit = *exit;
	gate->stopping = true;
	atomic_store(&gate->closed, true);
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

void gate_mark_ended(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->ended = true;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

static struct timespec deadline_after(int64_t ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += ms % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	return at;
}

int gate_wait(struct gate *gate, int64_t timeout_ms, struct vmm_exit *ret)
{
	struct timespec deadline = deadline_after(timeout_ms < 0 ? 0 : timeout_ms);
	int rc = 0;
	int ended;

	pthread_mutex_lock(&gate->lock);
	while (!gate->ended && rc != ETIMEDOUT)
		rc = timeout_ms < 0 ? pthread_cond_wait(&gate->changed, &gate->lock) :
				      pthread_cond_timedwait(&gate->changed, &gate->lock, &deadline);
	ended = gate->ended;
	*ret = ended ? gate->exit : (struct vmm_exit){ .reason = VMM_RUNNING, .cpu = -1 };
	pthread_mutex_unlock(&gate->lock);
	return ended;
}
