// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/change.h"
#include "cli/cli.h"
#include "shunt/abi.h"

static int parse_weight(const struct cli *cli, const char *arg, json_t *weights)
{
	const char *equals = strchr(arg, '=');
	char variant[SHUNT_NAME_LEN];
	uint64_t weight;

	if (!equals || equals == arg)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"%s: want VARIANT=WEIGHT, for instance green=5", arg);
	if (equals - arg >= (long)sizeof(variant))
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"%s: a variant's name has at most %zu letters", arg,
				sizeof(variant) - 1);
	snprintf(variant, sizeof(variant), "%.*s", (int)(equals - arg), arg);
	if (shunt_number_parse(equals + 1, SHUNT_MAX_WEIGHT, &weight) < 0)
		return cli_fail(cli, SHUNT_CTL_USAGE, "%s: a weight is a whole number from 0 to %d",
				arg, SHUNT_MAX_WEIGHT);
	if (json_object_get(weights, variant))
		return cli_fail(cli, SHUNT_CTL_USAGE, "%s: %s is named twice", arg, variant);
	json_object_set_new(weights, variant, json_integer((json_int_t)weight));
	return 0;
}

static int run_weight(struct cli *cli)
{
	json_auto_t *args = json_object();
	json_t *weights;
	int r;

	r = cli_change_args(cli, args);
	if (r)
		return r;
	if (cli_flag(cli, "from-manifest")) {
		if (cli->n_args > 1)
			return cli_fail(
				cli, SHUNT_CTL_USAGE,
				"--from-manifest takes the manifest's weights: leave out %s",
				cli->args[1]);
		json_object_set_new(args, "from_manifest", json_true());
		return cli_change(cli, "weight", args);
	}
	if (cli->n_args < 2)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"no weights: want shunt weight %s VARIANT=WEIGHT..., or "
				"--from-manifest",
				cli->args[0]);

	weights = json_object();
	json_object_set_new(args, "weights", weights);
	for (int i = 1; i < cli->n_args && !r; i++)
		r = parse_weight(cli, cli->args[i], weights);
	return r ? r : cli_change(cli, "weight", args);
}

static int run_switch(struct cli *cli)
{
	json_auto_t *args = json_object();
	int r = cli_change_args(cli, args);

	if (r)
		return r;
	json_object_set_new(args, "variant", json_string(cli->args[1]));
	return cli_change(cli, "switch", args);
}

static int run_rollback(struct cli *cli)
{
	json_auto_t *args = json_object();
	int r = cli_change_args(cli, args);

	return r ? r : cli_change(cli, "rollback", args);
}

static const struct cli_flag weight_flags[] = {
	{ "from-manifest", NULL, "end the override: return to the manifest's own weights", 0 },
	CLI_CHANGE_FLAGS,
	{ 0 },
};

static const struct cli_flag change_flags[] = {
	CLI_CHANGE_FLAGS,
	{ 0 },
};

static const struct cli_example weight_examples[] = {
	{ "shunt weight shop/api green=5 --reason 'canary of 1.4'",
	  "5 against what the others have" },
	{ "shunt weight shop/api blue=0 green=100", "all to green, as `shunt switch` does" },
	{ "shunt weight shop/api --from-manifest", "what the manifest says holds again" },
	{ 0 },
};

static const struct cli_example switch_examples[] = {
	{ "shunt switch shop/api green", "green takes every new connection" },
	{ 0 },
};

static const struct cli_example rollback_examples[] = {
	{ "shunt rollback shop/api --reason 'errors in 1.4'", "as before the last change" },
	{ 0 },
};

#define CHANGE_EXITS                                                                               \
	(CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND) | CLI_EXIT(SHUNT_CTL_REFUSED) |            \
	 CLI_EXIT(SHUNT_CTL_KERNEL))

const struct cli_command cli_weight = {
	.name = "weight",
	.args = "SERVICE [VARIANT=WEIGHT...]",
	.summary = "change the weights of a service",
	.text = "Sets the weights of the named variants, whole numbers from 0 to 1000000; the "
		"others "
		"keep theirs. A variant's share of the new connections is its weight divided by "
		"the "
		"sum of all. Established connections stay where they are.\n\n"
		"Waits until the kernel has the change and prints how long it took. The weights "
		"stand "
		"above the manifest, also over restarts of the agent, until the manifest's own "
		"weights "
		"of the service change or until --from-manifest. SERVICE is namespace/name, or "
		"name if "
		"there is only one of it.\n\n"
		"A variant that its dead-man switch has taken out gets new connections again when "
		"it is named, also with the weight that it has.\n\n"
		"A guard refuses to raise the weight of a variant that has endpoints but none "
		"ready.",
	.flags = weight_flags,
	.examples = weight_examples,
	.min_args = 1,
	.max_args = 1 + SHUNT_MAX_VARIANTS,
	.exits = CHANGE_EXITS,
	.complete = CLI_COMPLETE_SERVICE_WEIGHTS,
	.run = run_weight,
};

const struct cli_command cli_switch = {
	.name = "switch",
	.args = "SERVICE VARIANT",
	.summary = "give one variant all new connections",
	.text = "Gives VARIANT the whole weight of the service and the others 0, then does as "
		"`shunt weight`. `shunt rollback` undoes it.",
	.flags = change_flags,
	.examples = switch_examples,
	.min_args = 2,
	.max_args = 2,
	.exits = CHANGE_EXITS,
	.complete = CLI_COMPLETE_SERVICE_VARIANTS,
	.run = run_switch,
};

const struct cli_command cli_rollback = {
	.name = "rollback",
	.args = "SERVICE",
	.summary = "return to the weights before the last change",
	.text = "Returns to the weights that were in force before the last change of the service, "
		"whoever made it. A second rollback undoes the first.",
	.flags = change_flags,
	.examples = rollback_examples,
	.min_args = 1,
	.max_args = 1,
	.exits = CHANGE_EXITS,
	.complete = CLI_COMPLETE_SERVICE,
	.run = run_rollback,
};
