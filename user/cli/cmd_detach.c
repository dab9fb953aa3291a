// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "base/units.h"
#include "cli/cli.h"
#include "cli/print.h"
#include "datapath/datapath.h"
#include "datapath/drain.h"

#define DEFAULT_DEADLINE_MS 60000

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int refused(const struct cli *cli, int r, const struct shunt_err *err)
{
	if (r == -ENOENT)
		return cli_fail(
			cli, SHUNT_CTL_NOT_FOUND,
			"nothing to detach: no agent answers on %s and nothing is pinned in "
			"%s; --socket and --bpffs name others",
			cli->socket, cli->bpffs);
	return cli_fail(cli, r == -EBUSY ? SHUNT_CTL_REFUSED : SHUNT_CTL_KERNEL, "%s", err->text);
}

/* Without an agent: the same on the pins themselves. */
static int detach_pins(const struct cli *cli, bool is_drain, int deadline_ms, json_t **ret_result)
{
	uint64_t begun = now_ms(), left = 0;
	struct shunt_err err = { 0 };
	int r;

	r = is_drain ? shunt_dp_drain(cli->bpffs, (uint64_t)deadline_ms, &left, &err) : 0;
	if (r == 0)
		r = shunt_dp_remove(cli->bpffs, &err);
	if (r < 0)
		return refused(cli, r, &err);
	*ret_result =
		json_pack("{s:b, s:I, s:f, s:b}", "drained", is_drain, "flows_left",
			  (json_int_t)left, "took_ms", (double)(now_ms() - begun), "agent", 0);
	return 0;
}

static int detach(const struct cli *cli, bool is_drain, int deadline_ms, json_t **ret_result)
{
	json_auto_t *args = json_pack("{s:b, s:i}", "drain", is_drain, "deadline_ms", deadline_ms);
	struct shunt_err err = { 0 };
	int r, exit_code;

	r = shunt_ctl_call(cli->socket, "detach", args,
			   cli->timeout_ms + (is_drain ? deadline_ms : 0), ret_result, &exit_code,
			   &err);
	if (r == 0)
		return 0;
	/* Only when nobody listens; an agent that is slow or refuses has the word. */
	if (r == -ENOENT || r == -ECONNREFUSED)
		return detach_pins(cli, is_drain, deadline_ms, ret_result);
	return cli_fail(cli, exit_code, "%s", err.text);
}

static int run(struct cli *cli)
{
	bool is_drain = cli_flag(cli, "drain") != NULL;
	char took[SHUNT_UNIT_STR_LEN];
	json_auto_t *result = NULL;
	int deadline_ms, r;

	r = cli_flag_duration(cli, "deadline", DEFAULT_DEADLINE_MS, &deadline_ms);
	if (r)
		return r;
	if (!is_drain && cli_flag(cli, "deadline"))
		return cli_fail(cli, SHUNT_CTL_USAGE, "--deadline is of use with --drain only");
	r = detach(cli, is_drain, deadline_ms, &result);
	if (r)
		return r;
	if (cli->is_json)
		return cli_print_json(cli, result);

	print_text(cli, PRINT_PLAIN, "Detached after %s: the cluster's proxy serves everything.",
		   shunt_duration_str(
			   (uint64_t)json_number_value(json_object_get(result, "took_ms")), took));
	if (cli_int(result, "flows_left"))
		print_text(cli, PRINT_WARN, " %lld connections were still open.",
			   cli_int(result, "flows_left"));
	fputc('\n', cli->out);
	return 0;
}

static const struct cli_flag flags[] = {
	{ "drain", NULL, "pass new connections up at once, detach when the last entry has ended",
	  0 },
	{ "deadline", "TIME", "with --drain: detach then in any case (60s)", 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt detach --drain --deadline 10m", "leave no connection behind that ends in time" },
	{ "shunt detach", "at once: connections that Shunt translates break" },
	{ 0 },
};

const struct cli_command cli_detach = {
	.name = "detach",
	.args = "",
	.summary = "take Shunt out of the path of packets",
	.text = "Removes every hook and every pin; the agent ends, if one runs. New connections "
		"are "
		"then the cluster's proxy's. With --drain they are so at once, while the "
		"connections "
		"that Shunt has go on until they end or the deadline is over. This is the only way "
		"out: an agent that stops or dies leaves its gates working.",
	.flags = flags,
	.examples = examples,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND) | CLI_EXIT(SHUNT_CTL_REFUSED) |
		 CLI_EXIT(SHUNT_CTL_KERNEL),
	.run = run,
};
