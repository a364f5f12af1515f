// SPDX-License-Identifier: GPL-2.0-only
/* The least an init can do: end the machine it is booted on. */
#include <sys/reboot.h>

int main(void)
{
	reboot(RB_POWER_OFF);
	return 1;
}
