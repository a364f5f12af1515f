// SPDX-License-Identifier: GPL-2.0-only
#include "virtqueue.h"

#include <errno.h>
#include <string.h>

#define FLAG_NEXT 1
#define FLAG_WRITE 2
#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1

/* As in guest memory, little endian like the host. */
struct descriptor {
	uint64_t address;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* avail and used begin with flags and index; the ring follows. */
enum { RING_FLAGS, RING_INDEX, RING_ENTRIES };

void virtqueue_reset(struct virtqueue *queue, const struct memory *memory)
{
	*queue = (struct virtqueue){ .memory = memory };
	queue->state.size = VIRTQUEUE_MAX_SIZE;
	queue->state.vector = 0xffff;
}

int virtqueue_enable(struct virtqueue *queue, struct vmm_error *err)
{
	struct virtqueue_state *state = &queue->state;
	uint32_t size = state->size;
	bool fits = size && size <= VIRTQUEUE_MAX_SIZE && (size & (size - 1)) == 0;
	bool sound = fits && state->desc % 16 == 0 && state->avail % 2 == 0 && state->used % 4 == 0;

	queue->desc = memory_at(queue->memory, state->desc, size * sizeof(struct descriptor));
	queue->avail = memory_at(queue->memory, state->avail, 6 + 2 * size);
	queue->used = memory_at(queue->memory, state->used, 6 + 8 * size);
	state->enabled = sound && queue->desc && queue->avail && queue->used;
	if (state->enabled)
		return 0;
	return error_set(err, EINVAL, "queue of %u with rings at %#llx, %#llx, %#llx: %s", size,
			 (unsigned long long)state->desc, (unsigned long long)state->avail,
			 (unsigned long long)state->used, sound ? "not in RAM" : "bad size or alignment");
}

static uint16_t available(const struct virtqueue *queue)
{
	uint16_t index = __atomic_load_n(&queue->avail[RING_INDEX], __ATOMIC_ACQUIRE);

	return (uint16_t)(index - queue->state.next_avail);
}

bool virtqueue_waiting(const struct virtqueue *queue)
{
	return queue->state.enabled && available(queue);
}

/* One descriptor as it was at one moment, appended to the chain. */
static int append(const struct virtqueue *queue, const struct descriptor *found, struct virtqueue_chain *chain,
		  struct vmm_error *err)
{
	uint32_t total = chain->readable_bytes + chain->writable_bytes;
	bool write = found->flags & FLAG_WRITE;
	void *host = memory_at(queue->memory, found->address, found->len);

	if (found->flags & ~(FLAG_NEXT | FLAG_WRITE))
		return error_set(err, EPROTO, "descriptor with flags %#x", found->flags);
	if (found->len == 0 || found->len > VIRTQUEUE_CHAIN_BYTES - total)
		return error_set(err, EPROTO, "descriptor of %u bytes after %u", found->len, total);
	if (!host)
		return error_set(err, EPROTO, "descriptor of %u bytes at %#llx, which is not RAM", found->len,
				 (unsigned long long)found->address);
	if (!write && chain->writable)
		return error_set(err, EPROTO, "descriptor to read after one to write");
	chain->segments[chain->readable + chain->writable] = (struct iovec){ host, found->len };
	*(write ? &chain->writable : &chain->readable) += 1;
	*(write ? &chain->writable_bytes : &chain->readable_bytes) += found->len;
	return 0;
}

static int follow(const struct virtqueue *queue, struct virtqueue_chain *chain, struct vmm_error *err)
{
	uint16_t index = chain->head;

	for (uint32_t i = 0; i < queue->state.size; i++) {
		struct descriptor found;
		int rc;

		if (index >= queue->state.size)
			return error_set(err, EPROTO, "descriptor %u in a queue of %u", index, queue->state.size);
		memcpy(&found, queue->desc + index * sizeof(found), sizeof(found));
		__atomic_signal_fence(__ATOMIC_SEQ_CST); /* what is checked is what is used: no second load */
		rc = append(queue, &found, chain, err);
		if (rc)
			return rc;
		if (!(found.flags & FLAG_NEXT))
			return 0;
		index = found.next;
	}
	return error_set(err, EPROTO, "a chain longer than its queue of %u", queue->state.size);
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *ret, struct vmm_error *err)
{
	struct virtqueue_state *state = &queue->state;
	uint16_t count = state->enabled ? available(queue) : 0;
	int rc;

	if (count == 0)
		return 0;
	if (count > state->size)
		return error_set(err, EPROTO, "%u buffers available in a queue of %u", count, state->size);
	*ret = (struct virtqueue_chain){ 0 };
	ret->head = __atomic_load_n(&queue->avail[RING_ENTRIES + state->next_avail % state->size], __ATOMIC_RELAXED);
	state->next_avail++;
	rc = follow(queue, ret, err);
	return rc ? rc : 1;
}

void virtqueue_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written)
{
	uint16_t *ring = queue->used + RING_ENTRIES;
	const uint32_t element[2] = { chain->head, written };

	memcpy((uint8_t *)ring + queue->state.next_used % queue->state.size * sizeof(element), element, sizeof(element));
	queue->state.next_used++;
	__atomic_store_n(&queue->used[RING_INDEX], queue->state.next_used, __ATOMIC_RELEASE);
}

/* The fence orders the flag before the look at avail that follows, as the driver does it the other way. */
void virtqueue_want_doorbell(struct virtqueue *queue, bool wanted)
{
	if (!queue->state.enabled)
		return;
	__atomic_store_n(&queue->used[RING_FLAGS], wanted ? 0 : USED_NO_NOTIFY, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool virtqueue_driver_wants_interrupt(const struct virtqueue *queue)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return queue->state.enabled &&
	       !(__atomic_load_n(&queue->avail[RING_FLAGS], __ATOMIC_RELAXED) & AVAIL_NO_INTERRUPT);
}

/* From the segments into one buffer, or the other way. */
static uint32_t copy(const struct iovec *segments, uint32_t count, uint8_t *buffer, uint32_t bytes, bool to_guest)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < count && done < bytes; i++) {
		uint32_t part = bytes - done < segments[i].iov_len ? bytes - done : (uint32_t)segments[i].iov_len;
		void *guest = segments[i].iov_base, *here = buffer + done;

		memcpy(to_guest ? guest : here, to_guest ? here : guest, part);
		done += part;
	}
	return done;
}

uint32_t virtqueue_chain_read(const struct virtqueue_chain *chain, void *ret, uint32_t bytes)
{
	return copy(chain->segments, chain->readable, ret, bytes, false);
}

uint32_t virtqueue_chain_write(const struct virtqueue_chain *chain, const void *data, uint32_t bytes)
{
	return copy(chain->segments + chain->readable, chain->writable, (uint8_t *)data, bytes, true);
}
