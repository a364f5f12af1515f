/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KTSTR_QEMU_MOMENTS_H
#define KTSTR_QEMU_MOMENTS_H

/*
 * Moments at which the host looks at the guest: whole multiples of 100 ms of its own time, by a timer of
 * QEMU's that runs in the thread of all vCPUs, so that none of them has executed an instruction more than in
 * any other run. The timer is there whether anybody looks or not: it decides how many instructions a vCPU
 * executes in a turn. Who looks has given us a socket of packets (KTSTR_MOMENTS): 8 bytes, the guest's time in
 * ns, go out, and nothing moves, nor does QEMU answer anybody, until a 1 has come back. For a 2 the registers of
 * each vCPU go out, as text.
 *
 * To be called in that thread, before it executes anything.
 */
void moments_begin(void);

#endif
