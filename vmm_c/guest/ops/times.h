// SPDX-License-Identifier: GPL-2.0-only
#ifndef KTSTR_TIMES_H
#define KTSTR_TIMES_H

#include <stdint.h>

/* Let time pass, as long as the run is not cut short. */
void times_sleep(uint64_t ns);
/* Send what Delays have drawn. */
void times_send(void);

#endif
