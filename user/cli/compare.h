/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_COMPARE_H
#define SHUNT_CLI_COMPARE_H

#include "cli/cli.h"
#include "metrics/compare.h"

/* What `shunt compare` measured and found. Names are borrowed. */
struct cli_comparison {
	const char *service; /* as in `status` */
	const char *variant[2];
	bool is_connections; /* of TCP, as cli_connections_read(); else plaintext HTTP */
	double seconds;	     /* that it was measured for; 0: since the counters began */
	struct shunt_golden golden[2];
	struct shunt_comparison result;
};

/* A table of both, and a sentence on each measure. */
void compare_print(const struct cli *cli, const struct cli_comparison *comparison);

/* The same as JSON. Return: a new reference, or NULL: out of memory. */
json_t *compare_json(const struct cli_comparison *comparison);

#endif
