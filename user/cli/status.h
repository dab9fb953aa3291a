/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_STATUS_H
#define SHUNT_CLI_STATUS_H

#include "cli/cli.h"

/* The parts of `shunt status`; @status is the agent's result, borrowed. */
void status_print_agent(const struct cli *cli, const json_t *status);
void status_print_overview(const struct cli *cli, const json_t *status);
void status_print_service(const struct cli *cli, const json_t *service);
void status_print_reasons(const struct cli *cli, const json_t *status);
void status_print_problems(const struct cli *cli, const json_t *status);

/* Does a condition say that something is wrong? */
bool status_condition_is_bad(const json_t *condition);

/* Ready backends of a variant, and all that have an address. */
void status_count_backends(const json_t *variant, int *ret_ready, int *ret_all);

#endif
