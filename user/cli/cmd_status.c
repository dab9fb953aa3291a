// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "cli/cli.h"
#include "cli/status.h"

static int run(struct cli *cli)
{
	json_auto_t *status = NULL;
	const json_t *service, *services;
	char label[STATUS_LABEL_LEN];
	size_t i;
	int r;

	r = cli_call(cli, "status",
		     cli->n_args ? json_pack("{s:s}", "service", cli->args[0]) : json_object(), 0,
		     &status);
	if (r)
		return r;
	if (cli->is_json)
		return cli_print_json(cli, status);

	status_print_agent(cli, status);
	if (!cli->n_args) {
		status_print_overview(cli, status);
	} else {
		services = json_object_get(status, "services");
		json_array_foreach (services, i, service)
			status_print_service(cli, status_label(services, i, label), service);
	}
	if (cli_flag(cli, "reasons"))
		status_print_reasons(cli, status);
	if (!cli->n_args)
		status_print_problems(cli, status);
	return 0;
}

static const struct cli_flag flags[] = {
	{ "reasons", NULL, "also how often each verdict reason was given to a packet", 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt status", "all services" },
	{ "shunt status shop/api", "one service with its backends, override and conditions" },
	{ "shunt status -o json | jq '.services[].variants[] | {name, share}'", "for programs" },
	{ 0 },
};

const struct cli_command cli_status = {
	.name = "status",
	.args = "[SERVICE]",
	.summary = "show services, variants, shares and problems",
	.text = "Shows every service that is split: the weight and the share that each variant "
		"should "
		"have (ASKED), its share of the new connections that backends took since the last "
		"change (MEASURED: refused ones are not in it), and its connections and backends; "
		"of a variant that has no share, how many of its connections remain. "
		"Where plaintext HTTP is looked at, also the share of responses below 500 among "
		"those whose code is known (SUCCESS), of the last minute, and with SERVICE the "
		"times that half of them and 99 of 100 did not exceed. With SERVICE also what it "
		"refused (REJECTS), its frontends, "
		"backends, the override in force (who, when, why) and the conditions of its "
		"object.\n\n"
		"The JSON form is a contract: members may be added, never renamed. It is written "
		"down "
		"in docs/control-protocol.md.",
	.flags = flags,
	.examples = examples,
	.max_args = 1,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND),
	.complete = CLI_COMPLETE_SERVICE,
	.run = run,
};
