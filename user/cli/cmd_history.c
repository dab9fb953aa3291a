// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/print.h"

#define MAX_CHANGES 6 /* of one line; JSON has all */

/* "blue 100 -> 95, green 0 -> 5": only what differs. */
static void change_cell(struct print_grid *grid, const json_t *from, json_t *to)
{
	char text[512] = "";
	const char *name;
	json_t *after;
	size_t at = 0, n = 0;

	json_object_foreach (to, name, after) {
		const json_t *before = json_object_get(from, name);

		if (json_equal(before, after) || n++ >= MAX_CHANGES || at >= sizeof(text) - 1)
			continue;
		if (before)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %lld -> %lld",
					       at ? ", " : "", name,
					       (long long)json_integer_value(before),
					       (long long)json_integer_value(after));
		else
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %lld",
					       at ? ", " : "", name,
					       (long long)json_integer_value(after));
	}
	if (n > MAX_CHANGES && at < sizeof(text) - 1)
		snprintf(text + at, sizeof(text) - at, " and %zu more", n - MAX_CHANGES);
	print_cell(grid, PRINT_PLAIN, "%s", *text ? text : "no weight changed");
}

/* The stamp up to its seconds: the milliseconds are in the JSON. */
static void when_cell(struct print_grid *grid, const char *when)
{
	print_cell(grid, PRINT_PLAIN, "%.10s %.8s", when, strlen(when) > 19 ? when + 11 : "");
}

static void print_changes(const struct cli *cli, const json_t *changes)
{
	static const struct print_column columns[] = {
		{ "WHEN (UTC)", false }, { "PORTS", false },  { "WHO", false },
		{ "BY", false },	 { "CHANGE", false }, { "REASON", false },
	};
	struct print_grid grid = PRINT_GRID(columns);
	const json_t *change;
	char who[64];
	size_t i;

	json_array_foreach (changes, i, change) {
		long long uid = cli_int(change, "who_uid");

		when_cell(&grid, cli_str(change, "when"));
		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(change, "split"));
		print_cell(&grid, PRINT_PLAIN, "%s", uid < 0 ? "-" : cli_who(uid, who));
		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(change, "command"));
		change_cell(&grid, json_object_get(change, "from"), json_object_get(change, "to"));
		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(change, "reason"));
	}
	print_grid(cli, &grid, 0);
}

static int run(struct cli *cli)
{
	const char *last = cli_flag(cli, "last");
	json_auto_t *result = NULL;
	const json_t *changes;
	uint64_t n = 0;
	json_t *args;
	int r;

	if (last && (shunt_number_parse(last, 100, &n) < 0 || !n))
		return cli_fail(cli, SHUNT_CTL_USAGE, "--last %s: want a number from 1 to 100",
				last);
	args = json_pack("{s:s}", "service", cli->args[0]);
	if (last)
		json_object_set_new(args, "last", json_integer((json_int_t)n));
	r = cli_call(cli, "history", args, 0, &result);
	if (r)
		return r;
	if (cli->is_json)
		return cli_print_json(cli, result);

	changes = json_object_get(result, "changes");
	if (json_is_true(json_object_get(result, "gone")))
		fprintf(cli->out, "%s/%s has no split any more.\n", cli_str(result, "namespace"),
			cli_str(result, "service"));
	if (json_array_size(changes))
		print_changes(cli, changes);
	else
		fprintf(cli->out, "No change of %s/%s is known.\n", cli_str(result, "namespace"),
			cli_str(result, "service"));
	return 0;
}

static const struct cli_flag flags[] = {
	{ "last", "N", "only the last N changes", 'n' },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt history shop/api --last 5", "the five latest changes, newest first" },
	{ 0 },
};

const struct cli_command cli_history = {
	.name = "history",
	.args = "SERVICE",
	.summary = "show who changed the weights, when and why",
	.text = "Lists the changes of a service's weights, newest first: by an operator (who, with "
		"which command, --reason) or by the manifest. The agent keeps the last 100 of each "
		"service in its state directory.",
	.flags = flags,
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND),
	.complete = CLI_COMPLETE_SERVICE,
	.run = run,
};
