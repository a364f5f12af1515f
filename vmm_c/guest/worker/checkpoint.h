// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_CHECKPOINT_H
#define KTSTR_CHECKPOINT_H

#include <stdint.h>

/* Send what each released worker did since the last checkpoint. */
void checkpoint_send(uint32_t phase, uint32_t op);

#endif
