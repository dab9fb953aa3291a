// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/explain.h"

static void dp_closep(struct shunt_dp **dp)
{
	shunt_dp_close(*dp);
}

static int parse_proto(const struct cli *cli, uint8_t *ret_proto)
{
	const char *proto = cli_flag(cli, "proto");

	if (!proto || !strcasecmp(proto, "tcp"))
		*ret_proto = IPPROTO_TCP;
	else if (!strcasecmp(proto, "udp"))
		*ret_proto = IPPROTO_UDP;
	else
		return cli_fail(cli, SHUNT_CTL_USAGE, "--proto %s: want tcp or udp", proto);
	return 0;
}

/* SRC may lack the port. Return: 0 or the exit code. */
static int parse_tuple(const struct cli *cli, struct explain *explain)
{
	struct shunt_ip src, dst;
	uint16_t sport = 0, dport;
	uint8_t proto = IPPROTO_TCP;
	int r;

	r = parse_proto(cli, &proto);
	if (r)
		return r;
	explain->has_source_port = shunt_addr_port_parse(cli->args[0], &src, &sport) == 0;
	if (!explain->has_source_port && shunt_ip_parse(cli->args[0], &src) < 0)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"%s: want the client's ADDR or ADDR:PORT, IPv6 with a port in "
				"brackets",
				cli->args[0]);
	if (shunt_addr_port_parse(cli->args[1], &dst, &dport) < 0)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"%s: want the frontend's ADDR:PORT, IPv6 in brackets",
				cli->args[1]);
	if (src.family != dst.family)
		return cli_fail(cli, SHUNT_CTL_USAGE, "%s and %s are of different families",
				cli->args[0], cli->args[1]);
	explain->tuple = (struct shunt_tuple){ .src = src.addr,
					       .dst = dst.addr,
					       .sport_be = htons(sport),
					       .dport_be = htons(dport),
					       .proto = proto,
					       .family = src.family };
	return 0;
}

static int run(struct cli *cli)
{
	CLEANUP(dp_closep) struct shunt_dp *dp = NULL;
	struct explain explain = { .cli = cli };
	struct shunt_err err = { 0 };
	json_auto_t *result = NULL;
	int r;

	r = parse_tuple(cli, &explain);
	if (r)
		return r;
	r = shunt_dp_open_maps(cli->bpffs, false, &dp, &err);
	if (r < 0)
		return cli_fail(cli, SHUNT_CTL_KERNEL, "%s", err.text);
	explain.maps = shunt_dp_maps(dp);
	explain.now = shunt_dp_jiffies(dp);
	shunt_choose(explain.maps, &explain.tuple, explain.now, &explain.choice);
	if (cli->is_json) {
		result = explain_json(&explain);
		return cli_print_json(cli, result);
	}
	explain_print(&explain);
	return 0;
}

static const struct cli_flag flags[] = {
	{ "proto", "tcp|udp", "protocol (tcp)", 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt explain 10.1.0.9:40112 10.96.0.10:80",
	  "where this very connection goes, and why" },
	{ "shunt explain 10.1.0.9 10.96.0.10:80", "how this client's connections spread" },
	{ "shunt explain --proto udp [fd00::9]:5353 [fd00::10]:53", "IPv6, UDP" },
	{ 0 },
};

const struct cli_command cli_explain = {
	.name = "explain",
	.args = "SRC[:PORT] DST:PORT",
	.summary = "say which variant and backend a connection gets, and why",
	.text = "Walks the pinned maps with the very code of the data path: frontend, rule, "
		"affinity, "
		"variant, backend. Tells where an established connection is, and what a new one "
		"would "
		"get now. Without a source port, and where the port matters, it tries the "
		"ephemeral "
		"ports 32768 to 60999 and shows how they spread. Needs root, but no agent.",
	.flags = flags,
	.examples = examples,
	.min_args = 2,
	.max_args = 2,
	.exits = CLI_EXIT(SHUNT_CTL_KERNEL),
	.run = run,
};
