// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_DELIVERY_H
#define KTSTR_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ktstr_proto.h"

/* Whether the kernel's command line holds this word, which tells the agent how it comes to its program. */
bool delivery_has_word(const char *command_line, const char *word);

/*
 * How long the delivery is that begins with this head, its program included. On failure says why in
 * why and returns 0: it is none, or longer than any may be.
 */
uint32_t delivery_bytes(const struct ktstr_delivery *head, char *why, size_t why_size);
/* Whether its checksum is right; as many bytes as delivery_bytes says are there. Says why not. */
bool delivery_is_whole(const struct ktstr_delivery *delivery, char *why, size_t why_size);

/*
 * Tell the host that the agent waits, block until it has sent a delivery, and make its randomness and
 * its time the kernel's. Returns the program it holds, aligned and never freed, or NULL after an Error
 * message. Does not return when the host closes the channel.
 */
const void *delivery_receive(size_t *program_bytes);

#endif
