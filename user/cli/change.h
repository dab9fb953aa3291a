/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_CHANGE_H
#define SHUNT_CLI_CHANGE_H

#include "cli/cli.h"

/* What weight, switch, rollback and drain have in common. */

#define CLI_CHANGE_FLAGS                                                                           \
	{ "reason", "TEXT", "why, for status and history", 'r' },                                  \
		{ "port", "PORT[/tcp|/udp]",                                                       \
		  "only this port of the service, where ports split differently", 0 },             \
	{                                                                                          \
		"force", NULL, "do it although a guard refuses", 'f'                               \
	}

/* Fills service, port, reason and force into @args. Return: 0 or the exit code. */
int cli_change_args(const struct cli *cli, json_t *args);

/* " port 53/udp", as it was asked for; "" for all. @buf: CLI_PORT_LEN. Return: @buf. */
#define CLI_PORT_LEN 24
const char *cli_port_text(const json_t *result, char *buf);

/* Asks for a change of weights and prints before and after. @args: borrowed. */
int cli_change(const struct cli *cli, const char *command, json_t *args);

/* "in the kernel after 3.2 ms (generation 14)", and the warning if there is one. */
void cli_print_taken(const struct cli *cli, const json_t *result);

#endif
