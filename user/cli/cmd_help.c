// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

static int run(struct cli *cli)
{
	const struct cli_command *command;

	if (cli_flag(cli, "man")) {
		cli_man(cli->out);
	} else if (cli_flag(cli, "markdown")) {
		cli_markdown(cli->out);
	} else if (!cli->n_args) {
		cli_help(cli->out);
	} else {
		command = cli_command_find(cli->args[0]);
		if (!command)
			return cli_fail(cli, SHUNT_CTL_USAGE,
					"no command \"%s\": `shunt help` lists the commands",
					cli->args[0]);
		cli_help_command(command, cli->out);
	}
	return 0;
}

static const struct cli_flag flags[] = {
	{ "man", NULL, "the manual page of all commands, for man -l", 0 },
	{ "markdown", NULL, "the same as Markdown: docs/cli.md", 0 },
	{ 0 },
};

const struct cli_command cli_help_cmd = {
	.name = "help",
	.args = "[COMMAND]",
	.summary = "explain a command",
	.text = "Lists the commands, or explains one: arguments, options, examples, exit codes.",
	.flags = flags,
	.max_args = 1,
	.complete = CLI_COMPLETE_COMMANDS,
	.run = run,
};
