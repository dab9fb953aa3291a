// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/options.h"
#include "base/cleanup.h"
#include "metrics/compat.h"

/* Parses one line of words. */
static int parse(const char *line, struct agent_options *options, struct shunt_err *err)
{
	static char copy[1024];
	char *argv[64] = { "shuntd" };
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	return agent_options_parse(argc, argv, options, err);
}

Test(options, defaults_are_those_of_the_help)
{
	struct agent_options o;

	cr_assert_eq(parse("--source /m", &o, NULL), AGENT_RUN);
	cr_assert_str_eq(o.source_dir, "/m");
	cr_assert_str_eq(o.socket_path, "/run/shunt/shunt.sock");
	cr_assert_str_eq(o.dp.bpffs, "/sys/fs/bpf/shunt");
	cr_assert_str_eq(o.dp.state_dir, "/var/lib/shunt");
	cr_assert_eq(o.dp.sizes.flows, 262144);
	cr_assert_eq(o.dp.tc_mode, SHUNT_TC_AUTO);
	cr_assert_eq(o.max_step_bp, 0);
	cr_assert_eq(o.debounce_ms, 10);
	cr_assert_eq(o.resync_ms, 30000);
	cr_assert_eq(o.metrics_port, 0);
	cr_assert_eq(o.n_gates, 0);
	cr_assert_eq(o.dialect.default_drain_s, 60);
	agent_options_free(&o);
}

Test(options, every_kind_of_value_is_taken)
{
	struct agent_options o;

	cr_assert_eq(
		parse("--source=/m --gate veth*:tc --gate eth0:xdp --tc clsact --max-step 12.5 "
		      "--forward redirect "
		      "--metrics [::1]:9100 --metrics-compat linkerd,traefik "
		      "--timeout-half-open 0.25 --timeout-udp 2m "
		      "--resync 500ms --allow-uid 1000 --nat-ports 50000-50010 --icmp-rate 0 "
		      "--rst-rate 5000 "
		      "--max-flows 2048 "
		      "--nat-source fd00::1 --nat-source 192.0.2.1 "
		      "--entrypoint web=10.0.0.1:80 --allow-node-endpoints --log-level debug",
		      &o, NULL),
		AGENT_RUN);
	cr_assert_eq(o.n_gates, 2);
	cr_assert_eq(o.gates[1].hook, SHUNT_HOOK_XDP);
	cr_assert(o.has_nat_source[SHUNT_V4] && o.has_nat_source[SHUNT_V6]);
	cr_assert_eq(o.nat_source[SHUNT_V4].word_be[3], htonl(0xc0000201));
	cr_assert_eq(o.nat_source[SHUNT_V6].word_be[3], htonl(1));
	cr_assert_eq(o.dp.tc_mode, SHUNT_TC_CLSACT);
	cr_assert_eq(o.dp.forward, SHUNT_FORWARD_REDIRECT);
	cr_assert_eq(o.max_step_bp, 1250);
	cr_assert_eq(o.metrics_port, 9100);
	cr_assert_eq(o.metrics_ip.family, SHUNT_V6);
	cr_assert_eq(o.metrics_compat, SHUNT_COMPAT_TRAEFIK | SHUNT_COMPAT_LINKERD);
	cr_assert_eq(o.dp.timeout_ms[SHUNT_T_HALF_OPEN], 250);
	cr_assert_eq(o.dp.timeout_ms[SHUNT_T_UDP], 120000);
	cr_assert_eq(o.dp.timeout_ms[SHUNT_T_UDP_NEW], 0);
	cr_assert_eq(o.resync_ms, 500);
	cr_assert(o.n_allowed_uids == 1 && o.allowed_uids[0] == 1000);
	cr_assert(o.dp.nat_port_first == 50000 && o.dp.nat_port_last == 50010);
	cr_assert(o.dp.icmp_rate == 0 && o.dp.rst_rate == 5000);
	cr_assert_eq(o.dp.sizes.flows, 2048);
	cr_assert_eq(o.dialect.n_entrypoints, 1);
	cr_assert(o.dialect.allow_node_endpoints);
	cr_assert_eq(o.log_level, SHUNT_LOG_DEBUG);
	agent_options_free(&o);
}

Test(options, what_is_wrong_is_named)
{
	static const struct {
		const char *line, *word;
	} cases[] = {
		{ "", "--source" },
		{ "--source", "--source" },
		{ "--source /m more", "more" },
		{ "--source /m --nonsense", "--nonsense" },
		{ "--source /m --version=3", "--version=3" },
		{ "--source /m --gate [x", "[x" },
		{ "--source /m --tc bcl", "--tc" },
		{ "--source /m --forward", "--forward" },
		{ "--source /m --forward direct", "--forward direct" },
		{ "--source /m --max-flows 1023", "--max-flows" },
		{ "--source /m --max-flows 16777217", "--max-flows" },
		{ "--source /m --max-flows 1k", "--max-flows" },
		{ "--source /m --max-flows -1", "--max-flows" },
		{ "--source /m --max-step 0", "--max-step" },
		{ "--source /m --max-step 101", "--max-step" },
		{ "--source /m --max-step nan", "--max-step" },
		{ "--source /m --metrics 9100", "--metrics" },
		{ "--source /m --metrics ::1:9100", "--metrics" },
		{ "--source /m --metrics 127.0.0.1:0", "--metrics" },
		{ "--source /m --metrics 127.0.0.1:65536", "--metrics" },
		{ "--source /m --metrics [::1]:9100 --metrics-compat istio",
		  "--metrics-compat istio" },
		{ "--source /m --metrics [::1]:9100 --metrics-compat traefik,", "traefik," },
		{ "--source /m --metrics-compat traefik", "--metrics ADDR:PORT" },
		{ "--source /m --timeout-udp 1ms", "--timeout-udp" },
		{ "--source /m --timeout-udp 1.5m", "--timeout-udp" },
		{ "--source /m --timeout-udp 1e3", "--timeout-udp" },
		{ "--source /m --resync 99ms", "--resync" },
		{ "--source /m --icmp-rate 1000001", "--icmp-rate" },
		{ "--source /m --rst-rate -1", "--rst-rate" },
		{ "--source /m --nat-ports 61000", "--nat-ports" },
		{ "--source /m --nat-ports 61001-61000", "--nat-ports" },
		{ "--source /m --nat-ports 80-90", "--nat-ports" },
		{ "--source /m --nat-source eth0", "--nat-source" },
		{ "--source /m --nat-source 127.0.0.1", "--nat-source" },
		{ "--source /m --nat-source fe80::1", "--nat-source" },
		{ "--source /m --nat-source 224.0.0.1", "--nat-source" },
		{ "--source /m --nat-source 0.0.0.0", "--nat-source" },
		{ "--source /m --allow-uid root", "--allow-uid" },
		{ "--source /m --frontend-cidr 10.0.0.0/33", "--frontend-cidr" },
		{ "--source /m --entrypoint web", "--entrypoint" },
		{ "--source /m --log-level loud", "--log-level" },
	};
	struct agent_options o;
	struct shunt_err err;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		memset(&err, 0, sizeof(err));
		cr_expect_eq(parse(cases[i].line, &o, &err), -EINVAL, "%s", cases[i].line);
		cr_expect(strstr(err.text, cases[i].word), "%s: %s", cases[i].line, err.text);
		agent_options_free(&o);
	}
}

Test(options, help_man_and_version_need_nothing_else)
{
	struct agent_options o;

	cr_assert_eq(parse("--help", &o, NULL), AGENT_SHOW_HELP);
	cr_assert_eq(parse("--man", &o, NULL), AGENT_SHOW_MAN);
	cr_assert_eq(parse("--version", &o, NULL), AGENT_SHOW_VERSION);
	agent_options_free(&o);
}

Test(options, help_and_man_page_tell_the_same_options)
{
	CLEANUP(freep) char *help = NULL, *man = NULL;
	size_t len;
	FILE *out = open_memstream(&help, &len);
	char escaped[128];

	agent_options_help(out);
	fclose(out);
	out = open_memstream(&man, &len);
	agent_options_man(out);
	fclose(out);

	for (char *line = strstr(help, "  --"); line; line = strstr(line + 4, "\n  --")) {
		char name[64] = "";
		size_t n = 0;

		sscanf(strstr(line, "--") + 2, "%63[a-z-]", name);
		cr_assert(name[0]);
		for (const char *p = name; *p; p++)
			n += sprintf(escaped + n, *p == '-' ? "\\-" : "%c", *p);
		cr_expect(strstr(man, escaped), "%s is not in the man page", name);
	}
}

Test(options, the_page_in_man_is_what_the_table_says)
{
	CLEANUP(file_closep) FILE *file = fopen("man/shuntd.8", "r");
	CLEANUP(freep) char *want = NULL;
	char page[32768] = "";
	size_t len;
	FILE *out = open_memstream(&want, &len);

	agent_options_man(out);
	fclose(out);
	cr_assert(file);
	cr_assert_lt(fread(page, 1, sizeof(page) - 1, file), sizeof(page) - 1);
	cr_assert(!strcmp(page, want), "man/shuntd.8 is old: run `make man`");
}

Test(options, help_fits_on_a_terminal)
{
	CLEANUP(freep) char *help = NULL;
	size_t len;
	FILE *out = open_memstream(&help, &len);

	agent_options_help(out);
	fclose(out);
	for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n"))
		cr_expect_leq(strlen(line), 100, "%s", line);
}
