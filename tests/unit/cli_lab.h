/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_CLI_LAB_H
#define TESTS_UNIT_CLI_LAB_H

#include "fake_agent.h"

/*
 * An agent that answers every command with a canned result and keeps the last request, so
 * that a test of the command line sees both ends. `trace` and followers get a line for each
 * element of it.
 */
struct cli_lab {
	struct fake_agent *agent;
	const char *result; /* JSON; NULL: refuse */
	enum shunt_ctl_code code;
	const char *error;
	json_t *last_args;     /* of the last request */
	char last_command[32]; /* "" if there was none */
};

void cli_lab_start(struct cli_lab *lab, const char *result);
void cli_lab_stop(struct cli_lab *lab);

/* Refuses from now on. */
void cli_lab_refuse(struct cli_lab *lab, enum shunt_ctl_code code, const char *error);

#endif
