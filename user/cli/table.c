// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "cli/cli.h"

const struct cli_command *const cli_commands[] = {
	&cli_status,   &cli_top,      &cli_compare,    &cli_weight,   &cli_switch,
	&cli_rollback, &cli_history,  &cli_drain,      &cli_breaker,  &cli_explain,
	&cli_trace,    &cli_check,    &cli_events,     &cli_doctor,   &cli_detach,
	&cli_version,  &cli_help_cmd, &cli_completion, &cli_complete, NULL,
};

const struct cli_flag cli_global_flags[] = {
	{ "socket", "PATH", "control socket of the agent (" SHUNT_CTL_SOCKET ")", 0 },
	{ "bpffs", "DIR", "where the agent pins its maps (/sys/fs/bpf/shunt)", 0 },
	{ "state-dir", "DIR", "where the agent keeps overrides and history (/var/lib/shunt)", 0 },
	{ "output", "table|json", "tables for people, or JSON for programs", 'o' },
	{ "timeout", "TIME", "how long to wait for the agent (10s)", 0 },
	{ "no-color", NULL,
	  "no colours; they are used on a terminal only, and not if NO_COLOR is set", 0 },
	{ "help", NULL, "show this help", 'h' },
	{ "version", NULL, "as `shunt version`", 0 },
	{ 0 },
};

const struct cli_example cli_global_examples[] = {
	{ "shunt status", "all services, their variants, asked and measured shares" },
	{ "shunt weight shop/api blue=95 green=5", "give green 5 % of the new connections" },
	{ "shunt switch shop/api green", "give green everything" },
	{ "shunt rollback shop/api", "return to the weights before" },
	{ 0 },
};

const struct cli_command *cli_command_find(const char *name)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		if (!strcmp(cli_commands[i]->name, name))
			return cli_commands[i];
	}
	return NULL;
}

const char *cli_exit_text(int code)
{
	if (code == 0)
		return "done";
	if (code == SHUNT_EXIT_FINDINGS)
		return "check or doctor found something wrong";
	return shunt_ctl_code_text(code);
}
