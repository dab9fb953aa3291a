// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "cli/cli.h"
#include "cli/print.h"

#define MAX_EVENTS 1000

static void print_event(const struct cli *cli, const json_t *event)
{
	const char *time = cli_str(event, "time"), *level = cli_str(event, "level");
	enum print_style style = PRINT_PLAIN;

	if (!strcmp(level, "error"))
		style = PRINT_BAD;
	else if (!strcmp(level, "warn"))
		style = PRINT_WARN;
	print_text(cli, PRINT_DIM, "%.10s %.8s", time, strlen(time) > 19 ? time + 11 : "");
	fputs("  ", cli->out);
	print_text(cli, style, "%s", cli_str(event, "reason"));
	print_text(cli, PRINT_BOLD, "%s%s", *cli_str(event, "object") ? "  " : "",
		   cli_str(event, "object"));
	print_text(cli, PRINT_PLAIN, "  %s", cli_str(event, "text"));
	fputc('\n', cli->out);
}

/* One event as it comes; a reader that has gone ends the following. */
static int follow_each(void *ctx, json_t *event)
{
	const struct cli *cli = ctx;

	if (cli->is_json) {
		json_dumpf(event, cli->out, JSON_COMPACT);
		fputc('\n', cli->out);
	} else {
		print_event(cli, event);
	}
	return fflush(cli->out) != 0;
}

static int follow(struct cli *cli, json_t *args)
{
	struct shunt_err err = { 0 };
	int r, exit_code;

	json_object_set_new(args, "follow", json_true());
	r = shunt_ctl_follow(cli->socket, "events", args, follow_each, cli, -1, &exit_code, &err);
	if (r == -ECONNRESET)
		return cli_fail(cli, SHUNT_CTL_UNAVAILABLE, "the agent has ended the stream");
	if (r < 0)
		return cli_fail(cli, exit_code, "%s", err.text);
	return 0;
}

static int run(struct cli *cli)
{
	json_auto_t *args = json_object(), *result = NULL;
	const char *last = cli_flag(cli, "last");
	const json_t *events, *event;
	uint64_t n;
	size_t i;
	int r;

	if (last) {
		if (shunt_number_parse(last, MAX_EVENTS, &n) < 0)
			return cli_fail(cli, SHUNT_CTL_USAGE,
					"--last %s: want a number from 0 to %d", last, MAX_EVENTS);
		json_object_set_new(args, "last", json_integer((json_int_t)n));
	}
	if (cli_flag(cli, "follow"))
		return follow(cli, args);
	r = cli_call(cli, "events", json_incref(args), 0, &result);
	if (r)
		return r;
	events = json_object_get(result, "events");
	if (cli->is_json)
		return cli_print_json(cli, events);
	json_array_foreach (events, i, event)
		print_event(cli, event);
	return 0;
}

static const struct cli_flag flags[] = {
	{ "follow", NULL, "wait for more, until the agent ends; with -o json one object a line",
	  'f' },
	{ "last", "N", "how many past events to begin with (20)", 'n' },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt events -f", "what happens, as it happens" },
	{ "shunt events -n 100 -o json", "the last hundred, for programs" },
	{ 0 },
};

const struct cli_command cli_events = {
	.name = "events",
	.args = "",
	.summary = "show what the agent did and noticed",
	.text = "Lists changes of weights, refusals, gates that came and went, files that could "
		"not be "
		"read, and backends that were drained. The agent remembers the last 1000.",
	.flags = flags,
	.examples = examples,
	.exits = CLI_EXIT_AGENT,
	.run = run,
};
