// SPDX-License-Identifier: Apache-2.0
#include "base/version.h"
#include "cli/cli.h"
#include "shunt/abi.h"

/* The agent's version is worth knowing, but not having one is no failure of this command. */
static json_t *agent_version(const struct cli *cli)
{
	json_t *result = NULL;
	int exit_code;

	if (shunt_ctl_call(cli->socket, "version", NULL, cli->timeout_ms, &result, &exit_code,
			   NULL))
		return json_null();
	return result;
}

static int run(struct cli *cli)
{
	json_auto_t *version = NULL;
	const json_t *agent;

	version = json_pack("{s:s, s:i, s:o}", "version", SHUNT_VERSION, "abi_version",
			    SHUNT_ABI_VERSION, "agent", agent_version(cli));
	if (cli->is_json)
		return cli_print_json(cli, version);

	agent = json_object_get(version, "agent");
	fprintf(cli->out, "shunt %s, map ABI %d\n", SHUNT_VERSION, SHUNT_ABI_VERSION);
	if (json_is_object(agent))
		fprintf(cli->out, "shuntd %s, map ABI %lld, pid %lld\n", cli_str(agent, "version"),
			cli_int(agent, "abi_version"), cli_int(agent, "pid"));
	else
		fprintf(cli->out, "no agent answers on %s\n", cli->socket);
	return 0;
}

const struct cli_command cli_version = {
	.name = "version",
	.args = "",
	.summary = "print the versions of shunt and of the running agent",
	.text = "Prints the version of this program and of the agent, and the version of the map "
		"ABI "
		"of each. Maps of one ABI are pinned below v<ABI>/.",
	.run = run,
};
