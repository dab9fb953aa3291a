// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/change.h"
#include "cli/print.h"
#include "cli/status.h"

static const char *const actions[] = { "open", "close", "auto" };

static bool is_action(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (!strcmp(word, actions[i]))
			return true;
	return false;
}

/* ---- what there is -------------------------------------------------------------------------- */

static void print_rule(const struct cli *cli, const json_t *result, const json_t *breaker)
{
	char open[SHUNT_UNIT_STR_LEN], recovery[SHUNT_UNIT_STR_LEN];
	const char *split = cli_str(breaker, "split"), *scope = cli_str(breaker, "scope");
	const char *fallback = cli_str(breaker, "fallback");
	const json_t *source = json_object_get(breaker, "source");

	print_text(cli, PRINT_BOLD, "%s/%s%s%s", cli_str(result, "namespace"),
		   cli_str(result, "service"), *split ? ":" : "", split);
	print_text(cli, PRINT_PLAIN, ": breaker of %s%s: %s",
		   strcmp(scope, "service") ? "each " : "the ", scope,
		   cli_str(breaker, "expression"));
	print_text(cli, PRINT_DIM, " (%s %s/%s)", cli_str(source, "kind"),
		   cli_str(source, "namespace"), cli_str(source, "name"));
	fputc('\n', cli->out);
	print_text(cli, PRINT_PLAIN, "  from %lld requests on; open for %s%s%s, recovers in %s",
		   cli_int(breaker, "min_requests"),
		   shunt_duration_str((uint64_t)cli_int(breaker, "fallback_ms"), open),
		   *fallback ? ", leads to " : "", fallback,
		   shunt_duration_str((uint64_t)cli_int(breaker, "recovery_ms"), recovery));
	if (!json_is_true(json_object_get(breaker, "enforced")))
		print_text(cli, PRINT_WARN, ", NOT ENFORCED by this version");
	fputc('\n', cli->out);
}

static void print_instances(const struct cli *cli, const json_t *instances)
{
	static const struct print_column columns[] = {
		{ "VARIANT", false }, { "BACKEND", false }, { "STATE", false },
		{ "SINCE", false },   { "ENDS IN", true },  { "OPENED", true },
		{ "REQUESTS", true },
	};
	struct print_grid grid = PRINT_GRID(columns);
	const json_t *instance;
	char text[SHUNT_UNIT_STR_LEN];
	size_t i;

	json_array_foreach (instances, i, instance) {
		const json_t *left = json_object_get(instance, "left_ms");
		const json_t *requests = json_object_get(instance, "requests");
		const char *since = cli_str(instance, "since");

		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(instance, "variant"));
		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(instance, "backend"));
		print_cell(&grid, status_phase_style(instance), "%s", cli_str(instance, "phase"));
		print_cell(&grid, PRINT_PLAIN, "%.10s%s%.8s", since, *since ? " " : "",
			   strlen(since) > 19 ? since + 11 : "");
		print_cell(&grid, PRINT_PLAIN, "%s",
			   json_is_integer(left)
				   ? shunt_duration_str((uint64_t)json_integer_value(left), text)
				   : "");
		print_cell(&grid, PRINT_PLAIN, "%lld", cli_int(instance, "opened"));
		print_cell(&grid, PRINT_PLAIN, "%s",
			   json_is_integer(requests)
				   ? shunt_count_str((uint64_t)json_integer_value(requests), text)
				   : "");
	}
	print_grid(cli, &grid, 2);
}

static void print_breakers(const struct cli *cli, const json_t *result)
{
	const json_t *breaker;
	size_t i;

	json_array_foreach (json_object_get(result, "breakers"), i, breaker) {
		if (i)
			fputc('\n', cli->out);
		print_rule(cli, result, breaker);
		print_instances(cli, json_object_get(breaker, "instances"));
	}
}

/* ---- the command ----------------------------------------------------------------------------- */

static void print_forced(const struct cli *cli, const json_t *result)
{
	const char *warning = cli_str(result, "warning");

	if (json_is_false(json_object_get(result, "changed")))
		print_text(cli, PRINT_PLAIN, "nothing to change: this is in force already");
	else
		print_text(cli, PRINT_GOOD, "in the kernel after %.1f ms",
			   json_number_value(json_object_get(result, "took_ms")));
	fputc('\n', cli->out);
	if (*warning)
		fprintf(cli->err, "shunt: warning: %s\n", warning);
}

/* Return: 0 or the exit code. */
static int read_args(const struct cli *cli, json_t *args)
{
	const char *variant = cli_flag(cli, "variant");
	int r = cli_change_args(cli, args);

	if (r)
		return r;
	if (cli->n_args < 2 && (variant || cli_flag(cli, "reason")))
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"nothing to do: want shunt breaker %s open, close or auto",
				cli->args[0]);
	if (cli->n_args < 2)
		return 0;
	if (!is_action(cli->args[1]))
		return cli_fail(cli, SHUNT_CTL_USAGE, "%s: want open, close or auto", cli->args[1]);
	json_object_set_new(args, "action", json_string(cli->args[1]));
	if (variant && json_object_set_new(args, "variant", json_string(variant)) < 0)
		return cli_fail(cli, SHUNT_CTL_USAGE, "--variant is not valid UTF-8");
	return 0;
}

static int run(struct cli *cli)
{
	json_auto_t *args = json_object(), *result = NULL;
	int r = read_args(cli, args);

	if (!r)
		r = cli_call(cli, "breaker", json_incref(args), 0, &result);
	if (r)
		return r;
	if (cli->is_json)
		return cli_print_json(cli, result);
	print_breakers(cli, result);
	if (cli->n_args > 1)
		print_forced(cli, result);
	return 0;
}

static const struct cli_flag flags[] = {
	{ "variant", "VARIANT", "only this variant's breaker, or those of its backends", 0 },
	{ "reason", "TEXT", "why, for the event", 'r' },
	{ "port", "PORT[/tcp|/udp]", "only this port of the service, where ports split differently",
	  0 },
	{ "force", NULL, "open it although nothing else takes what it refuses", 'f' },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt breaker shop/api", "what state it is in, and how often it has opened" },
	{ "shunt breaker shop/api open --variant green --reason 'database moves'",
	  "nothing new reaches green" },
	{ "shunt breaker shop/api auto", "the kernel decides again" },
	{ 0 },
};

const struct cli_command cli_breaker = {
	.name = "breaker",
	.args = "SERVICE [open|close|auto]",
	.summary = "show or force the circuit breakers of a service",
	.text = "Shows each circuit breaker of the service: one for the service, or one for each "
		"variant or backend, as its policy says. REQUESTS are those in its window.\n\n"
		"`open` holds it open and `close` holds it closed, whatever is counted, until "
		"`auto`: then it is closed and the kernel decides again. What is forced stays over "
		"changes of weights and restarts of the agent; `shunt detach` and a reboot end it. "
		"While it is open new connections are refused, or go to the fallback variant of "
		"the "
		"policy. `open` is refused if nothing else could take any connection of the "
		"service; --force overrides that.",
	.flags = flags,
	.examples = examples,
	.min_args = 1,
	.max_args = 2,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND) | CLI_EXIT(SHUNT_CTL_REFUSED) |
		 CLI_EXIT(SHUNT_CTL_KERNEL),
	.complete = CLI_COMPLETE_SERVICE_BREAKER,
	.run = run,
};
