// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"
#include "cli/change.h"
#include "cli/cli.h"
#include "cli/print.h"

#define DEFAULT_DEADLINE_MS 60000

static void print_drain(const struct cli *cli, const json_t *result)
{
	bool is_drained = json_is_true(json_object_get(result, "drained"));
	char active[SHUNT_UNIT_STR_LEN], deadline[SHUNT_UNIT_STR_LEN], port[CLI_PORT_LEN];
	const json_t *split, *splits = json_object_get(result, "splits");
	size_t i;

	print_text(cli, PRINT_BOLD, "%s/%s", cli_str(result, "namespace"),
		   cli_str(result, "service"));
	if (!json_array_size(splits))
		print_text(cli, PRINT_PLAIN, "%s", cli_port_text(result, port));
	json_array_foreach (splits, i, split)
		print_text(cli, PRINT_PLAIN, "%s%s", i ? ", " : " ports ",
			   json_string_value(split));
	print_text(cli, PRINT_PLAIN, ": %s %s ", cli_str(result, "kind"),
		   cli_str(result, "target"));
	if (is_drained)
		print_text(cli, PRINT_PLAIN,
			   "gets nothing new; %s connections are active, deadline in %s",
			   shunt_count_str((uint64_t)cli_int(result, "connections_active"), active),
			   shunt_duration_str((uint64_t)cli_int(result, "deadline_ms"), deadline));
	else
		print_text(cli, PRINT_PLAIN, "takes new connections again");
	fputc('\n', cli->out);
	cli_print_taken(cli, result);
}

static int run(struct cli *cli)
{
	json_auto_t *args = json_object(), *result = NULL;
	bool is_undo = cli_flag(cli, "undo") != NULL;
	int deadline_ms, r;

	r = cli_change_args(cli, args);
	if (!r)
		r = cli_flag_duration(cli, "deadline", DEFAULT_DEADLINE_MS, &deadline_ms);
	if (r)
		return r;
	if (is_undo && cli_flag(cli, "deadline"))
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"--undo ends the drain: leave out --deadline");

	json_object_set_new(args, "target", json_string(cli->args[1]));
	if (is_undo)
		json_object_set_new(args, "undo", json_true());
	else
		json_object_set_new(args, "deadline_ms", json_integer(deadline_ms));
	r = cli_call(cli, "drain", json_incref(args), 0, &result);
	if (r)
		return r;
	if (cli->is_json)
		return cli_print_json(cli, result);
	print_drain(cli, result);
	return 0;
}

static const struct cli_flag flags[] = {
	{ "deadline", "TIME", "when sessions end and a backend's connections are reset (60s)", 0 },
	{ "undo", NULL, "let it take new connections again", 0 },
	CLI_CHANGE_FLAGS,
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt drain shop/api blue --deadline 5m", "nothing new for blue" },
	{ "shunt drain shop/api 10.1.0.7:8080 --reason 'disk fails'", "one backend" },
	{ "shunt drain shop/api blue --undo", "as before" },
	{ 0 },
};

const struct cli_command cli_drain = {
	.name = "drain",
	.args = "SERVICE VARIANT|BACKEND",
	.summary = "take a variant or a backend out of use gently",
	.text = "A drained variant or backend gets no new connection. Established ones go on; "
		"clients "
		"with session affinity move at the deadline, and the connections of a drained "
		"backend "
		"are reset then. BACKEND is an address, or an address and port: 10.1.0.7, "
		"10.1.0.7:8080, [fd00::7]:8080.",
	.flags = flags,
	.examples = examples,
	.min_args = 2,
	.max_args = 2,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND) | CLI_EXIT(SHUNT_CTL_REFUSED) |
		 CLI_EXIT(SHUNT_CTL_KERNEL),
	.complete = CLI_COMPLETE_SERVICE_VARIANTS,
	.run = run,
};
