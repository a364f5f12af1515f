// SPDX-License-Identifier: GPL-2.0-only
/*
 * A scheduler binary that never gets as far as attaching: it says why, on both
 * streams, the last line unterminated as a crash would leave it, and is gone.
 */
#include <stdio.h>

int main(void)
{
	printf("dies_at_load: loading\n");
	fflush(stdout);
	fprintf(stderr, "dies_at_load: the verifier rejected dispatch: R1 invalid mem access 'scalar'\n");
	fprintf(stderr, "dies_at_load: last words");
	return 7;
}
