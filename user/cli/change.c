// SPDX-License-Identifier: Apache-2.0
#include "cli/change.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/print.h"

#define MAX_REASON 255

/* "53", "53/tcp", "53/udp". Return: 0 or the exit code. */
static int read_port(const struct cli *cli, const char *text, json_t *args)
{
	const char *slash = strchr(text, '/');
	char number[8] = "";
	uint64_t port;

	snprintf(number, sizeof(number), "%.*s", (int)(slash ? slash - text : 7), text);
	if ((slash && strcmp(slash, "/tcp") && strcmp(slash, "/udp")) ||
	    shunt_number_parse(number, 65535, &port) < 0 || !port)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"--port %s: want a number from 1 to 65535, maybe with /tcp or /udp",
				text);
	json_object_set_new(args, "port", json_integer((json_int_t)port));
	if (slash)
		json_object_set_new(args, "protocol", json_string(slash + 1));
	return 0;
}

const char *cli_port_text(const json_t *result, char *buf)
{
	const char *protocol = cli_str(result, "protocol");

	buf[0] = '\0';
	if (cli_int(result, "port"))
		snprintf(buf, CLI_PORT_LEN, " port %u%s%.4s",
			 (unsigned)cli_int(result, "port") & 0xffff, *protocol ? "/" : "",
			 protocol);
	return buf;
}

int cli_change_args(const struct cli *cli, json_t *args)
{
	const char *port = cli_flag(cli, "port"), *reason = cli_flag(cli, "reason");
	int r;

	json_object_set_new(args, "service", json_string(cli->args[0]));
	r = port ? read_port(cli, port, args) : 0;
	if (r)
		return r;
	if (reason) {
		if (strlen(reason) > MAX_REASON)
			return cli_fail(cli, SHUNT_CTL_USAGE, "--reason has at most %d bytes",
					MAX_REASON);
		if (json_object_set_new(args, "reason", json_string(reason)) < 0)
			return cli_fail(cli, SHUNT_CTL_USAGE, "--reason is not valid UTF-8");
	}
	if (cli_flag(cli, "force"))
		json_object_set_new(args, "force", json_true());
	return 0;
}

void cli_print_taken(const struct cli *cli, const json_t *result)
{
	const json_t *took = json_object_get(result, "took_ms");
	const char *warning = cli_str(result, "warning");

	if (json_is_false(json_object_get(result, "changed")))
		print_text(cli, PRINT_PLAIN, "nothing to change: this is in force already");
	else
		print_text(cli, PRINT_GOOD, "in the kernel after %.1f ms", json_number_value(took));
	print_text(cli, PRINT_PLAIN, " (generation %lld)", cli_int(result, "generation"));
	if (json_is_false(json_object_get(result, "confirmed")))
		print_text(cli, PRINT_BAD,
			   ", but reading it back gave something else: see the log");
	fputc('\n', cli->out);
	if (*warning)
		fprintf(cli->err, "shunt: warning: %s\n", warning);
}

static double weight_sum(json_t *weights)
{
	const char *name;
	json_t *weight;
	double sum = 0;

	json_object_foreach (weights, name, weight)
		sum += (double)json_integer_value(weight);
	return sum;
}

static void share_cell(struct print_grid *grid, const json_t *weight, double sum)
{
	char text[SHUNT_UNIT_STR_LEN];

	if (!weight || sum <= 0)
		print_cell(grid, PRINT_DIM, "-");
	else
		print_cell(grid, PRINT_PLAIN, "%s",
			   shunt_share_str((double)json_integer_value(weight) / sum, text));
}

static void weight_cell(struct print_grid *grid, enum print_style style, const json_t *weight)
{
	if (weight)
		print_cell(grid, style, "%lld", (long long)json_integer_value(weight));
	else
		print_cell(grid, PRINT_DIM, "-");
}

static void print_weights(const struct cli *cli, const json_t *result, const json_t *change)
{
	static const struct print_column columns[] = {
		{ "VARIANT", false }, { "BEFORE", true }, { "SHARE", true },
		{ "AFTER", true },    { "SHARE", true },
	};
	struct print_grid grid = PRINT_GRID(columns);
	json_t *from = json_object_get(change, "from"), *to = json_object_get(change, "to");
	double from_sum = weight_sum(from), to_sum = weight_sum(to);
	const char *name, *split = cli_str(change, "split");
	char port[CLI_PORT_LEN];
	json_t *after;

	print_text(cli, PRINT_BOLD, "%s/%s%s%s", cli_str(result, "namespace"),
		   cli_str(result, "service"), *split ? ":" : "", split);
	print_text(cli, PRINT_PLAIN, "%s", cli_port_text(result, port));
	fputc('\n', cli->out);
	json_object_foreach (to, name, after) {
		const json_t *before = json_object_get(from, name);

		print_cell(&grid, PRINT_PLAIN, "%s", name);
		weight_cell(&grid, PRINT_PLAIN, before);
		share_cell(&grid, before, from_sum);
		weight_cell(&grid, json_equal(before, after) ? PRINT_PLAIN : PRINT_BOLD, after);
		share_cell(&grid, after, to_sum);
	}
	print_grid(cli, &grid, 2);
}

static void print_change(const struct cli *cli, const json_t *result)
{
	const json_t *each, *splits = json_object_get(result, "splits");
	size_t i;

	json_array_foreach (splits, i, each)
		print_weights(cli, result, each);
	if (!json_array_size(splits))
		print_weights(cli, result, result);
	cli_print_taken(cli, result);
}

int cli_change(const struct cli *cli, const char *command, json_t *args)
{
	json_auto_t *result = NULL;
	int r = cli_call(cli, command, json_incref(args), 0, &result);

	if (r)
		return r;
	if (cli->is_json)
		return cli_print_json(cli, result);
	print_change(cli, result);
	return 0;
}
