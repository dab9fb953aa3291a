// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
	int r = cli_run(argc, argv, stdout, stderr);

	/* A full disk behind stdout must not look like success. */
	if (fflush(stdout) != 0 && r == 0)
		return SHUNT_CTL_INTERNAL;
	return r;
}
