/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_EXPLAIN_H
#define SHUNT_CLI_EXPLAIN_H

#include "cli/cli.h"
#include "datapath/explain.h"

struct explain {
	const struct cli *cli;
	const struct shunt_dp_maps *maps; /* borrowed */
	struct shunt_tuple tuple;
	bool has_source_port;
	uint32_t now; /* jiffies */
	struct shunt_choice choice;
};

json_t *explain_json(const struct explain *explain);
void explain_print(const struct explain *explain);

/* explain_breaker.c: of the chosen variant and backend, or @of_all variants; prints if any is. */
void explain_print_breaker(const struct explain *explain, bool of_all);
json_t *explain_breaker_json(const struct explain *explain);

/* explain_ejection.c: which backends of the split's variants are ejected; prints if any is. */
void explain_print_ejected(const struct explain *explain);
json_t *explain_ejected_json(const struct explain *explain);

#endif
