// SPDX-License-Identifier: Apache-2.0
/* shunt trace at the command line: requests, mistakes, and packets as people read them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli_run_line.h"

TestSuite(cli_trace, .timeout = 30);

/* `shunt trace` with the words of @line. */
static int trace(const struct cli_lab *lab, const char *line, char **ret_out, char **ret_err)
{
	char words[512];

	snprintf(words, sizeof(words), "trace %s", line);
	return cli_run_line(lab, words, ret_out, ret_err);
}

static void expect(const struct cli_lab *lab, const char *line, int exit_code, const char *want_out,
		   const char *want_err)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	int r = trace(lab, line, &out, &err);

	cr_expect_str_eq(out, want_out, "shunt trace %s printed\n%s(want)\n%s", line, out,
			 want_out);
	cr_expect_str_eq(err, want_err, "shunt trace %s said\n%s(want)\n%s", line, err, want_err);
	cr_expect_eq(r, exit_code, "shunt trace %s ended with %d", line, r);
}

#define BEGIN "{\"begin\":{\"filter\":\"\",\"for_ms\":30000,\"gates\":2}}"
#define END   "{\"end\":{\"told\":1,\"limited\":0,\"lost\":0,\"why\":\"the time is over\"}}"
#define BEGUN "shunt: tracing 2 gates for 30 s, or until interrupted\n"
#define ENDED "shunt: 1 packet shown; ended: the time is over\n"

#define TIME                                                                                       \
	"\"time\":\"2026-11-23T12:00:01.123Z\",\"time_ns\":1795435201123456789,\"took_ns\":1850,"  \
	"\"cpu\":1,\"gate\":\"eth0\",\"hook\":\"tc\","
#define FROM_TO                                                                                    \
	"\"from\":{\"src\":\"10.1.0.9:40112\",\"dst\":\"10.96.0.10:80\"},"                         \
	"\"to\":{\"src\":\"10.1.0.9:40112\",\"dst\":\"10.1.0.7:8080\"}"

/* The first packet of a connection. */
#define NEW                                                                                        \
	"{\"packet\":{" TIME "\"direction\":\"ingress\",\"packet\":{\"family\":\"ipv4\","          \
	"\"protocol\":\"tcp\",\"src\":\"10.1.0.9:40112\",\"dst\":\"10.96.0.10:80\",\"bytes\":60,"  \
	"\"segments\":1,\"flags\":\"SYN\",\"seq\":1,\"ack\":0},\"service\":\"shop/api:80\","       \
	"\"variant\":\"green\",\"backend\":\"10.1.0.7:8080\",\"new\":true,\"stages\":["            \
	"{\"stage\":\"parse\"},"                                                                   \
	"{\"stage\":\"lookup\",\"service\":\"shop/api:80\",\"is_backend\":false},"                 \
	"{\"stage\":\"conntrack\",\"known\":false},{\"stage\":\"admit\"},"                         \
	"{\"stage\":\"affinity\",\"kept\":false},"                                                 \
	"{\"stage\":\"variant\",\"variant\":\"green\",\"weight\":5,\"weights\":100,"               \
	"\"hash\":\"9f00000000000001\"},"                                                          \
	"{\"stage\":\"backend\",\"backend\":\"10.1.0.7:8080\"},"                                   \
	"{\"stage\":\"entry\",\"source_translated\":false},"                                       \
	"{\"stage\":\"rewrite\"," FROM_TO "}],\"reason\":\"FORWARDED\",\"action\":\"FORWARD\","    \
	"\"text\":\"translated to a backend\",\"verdict\":\"pass\"}}"

/* An answer of a known flow. */
#define ANSWER                                                                                     \
	"{\"packet\":{" TIME "\"direction\":\"egress\",\"packet\":{\"family\":\"ipv4\","           \
	"\"protocol\":\"tcp\",\"src\":\"10.1.0.7:8080\",\"dst\":\"10.1.0.9:40112\",\"bytes\":"     \
	"4000,"                                                                                    \
	"\"segments\":3,\"flags\":\"ACK\",\"seq\":1,\"ack\":0},\"service\":\"shop/api:80\","       \
	"\"variant\":\"green\",\"backend\":\"10.1.0.7:8080\",\"new\":false,\"stages\":["           \
	"{\"stage\":\"parse\"},"                                                                   \
	"{\"stage\":\"conntrack\",\"known\":true,\"state\":\"SYN_ACK\","                           \
	"\"state_after\":\"ESTABLISHED\",\"age_ms\":3200,\"idle_ms\":12,\"stale\":false,"          \
	"\"direct\":false,\"gate\":\"eth0\"},"                                                     \
	"{\"stage\":\"rewrite\",\"from\":{\"src\":\"10.1.0.7:8080\",\"dst\":\"10.1.0.9:40112\"},"  \
	"\"to\":{\"src\":\"10.96.0.10:80\",\"dst\":\"10.1.0.9:40112\"}}],\"reason\":\"RESTORED\"," \
	"\"action\":\"RESTORE\",\"text\":\"answer\",\"verdict\":\"pass\"}}"

/* A refused one, whose names would obey a terminal. */
#define REFUSED                                                                                    \
	"{\"packet\":{" TIME "\"direction\":\"ingress\",\"packet\":{\"family\":\"ipv6\","          \
	"\"protocol\":\"udp\",\"src\":\"[fd00::9]:5353\",\"dst\":\"[fd00::10]:53\",\"bytes\":60,"  \
	"\"segments\":1},\"service\":\"shop/\\u001b[31mdns:53/udp\",\"variant\":null,"             \
	"\"backend\":null,\"new\":true,\"stages\":[{\"stage\":\"parse\"},"                         \
	"{\"stage\":\"lookup\",\"service\":\"shop/dns:53/udp\",\"is_backend\":false},"             \
	"{\"stage\":\"conntrack\",\"known\":true,\"state\":\"CLOSED\",\"state_after\":\"FREE\","   \
	"\"age_ms\":60000,\"idle_ms\":5,\"stale\":true,\"direct\":false,\"gate\":\"eth0\"},"       \
	"{\"stage\":\"admit\"},"                                                                   \
	"{\"stage\":\"variant\",\"reason\":\"NO_WEIGHT\",\"text\":\"all variants have weight "     \
	"0\"}],"                                                                                   \
	"\"reason\":\"NO_WEIGHT\",\"action\":\"REJECT\",\"text\":\"all variants have weight 0\","  \
	"\"verdict\":\"redirect\"}}"

#define FOREIGN                                                                                    \
	"{\"packet\":{" TIME "\"direction\":\"ingress\",\"packet\":{\"ethertype\":\"0x0806\"},"    \
	"\"service\":null,\"variant\":null,\"backend\":null,\"new\":false,\"stages\":[],"          \
	"\"reason\":\"NOT_IP\",\"action\":\"PASS\",\"text\":\"neither IPv4 nor IPv6\","            \
	"\"verdict\":\"pass\"}}"

#define ICMP                                                                                       \
	"{\"packet\":{" TIME "\"direction\":\"ingress\",\"packet\":{\"family\":\"ipv4\","          \
	"\"protocol\":\"icmp\",\"src\":\"192.0.2.1\",\"dst\":\"10.96.0.10\",\"bytes\":56,"         \
	"\"segments\":1},\"service\":\"shop/api:80\",\"variant\":\"green\","                       \
	"\"backend\":\"10.1.0.7:8080\",\"new\":false,\"stages\":["                                 \
	"{\"stage\":\"parse\",\"reason\":\"L4_PROTO\",\"text\":\"neither TCP nor UDP\"},"          \
	"{\"stage\":\"icmp\",\"protocol\":\"tcp\",\"about\":{\"src\":\"10.1.0.9:40112\","          \
	"\"dst\":\"10.96.0.10:80\"}},{\"stage\":\"rewrite\"," FROM_TO "}],"                        \
	"\"reason\":\"ICMP_FORWARDED\",\"action\":\"FORWARD\",\"text\":\"ICMP error\","            \
	"\"verdict\":\"pass\"}}"

#define WHEN_IN	 "12:00:01.123456  eth0      tc in  "
#define WHEN_OUT "12:00:01.123456  eth0      tc out "

Test(cli_trace, a_packet_is_one_line)
{
	struct cli_lab lab;

	cli_lab_start(&lab,
		      "[" BEGIN "," NEW "," ANSWER "," REFUSED "," FOREIGN "," ICMP "," END "]");
	expect(&lab, "", 0,
	       WHEN_IN "tcp SYN 10.1.0.9:40112 > 10.96.0.10:80  FORWARDED to 10.1.0.7:8080  "
		       "shop/api:80 green, new, weight 5 of 100\n" WHEN_OUT
		       "tcp ACK 10.1.0.7:8080 > 10.1.0.9:40112  RESTORED from 10.96.0.10:80  "
		       "shop/api:80 green, syn ack\n" WHEN_IN
		       "udp [fd00::9]:5353 > [fd00::10]:53  NO_WEIGHT rejected: all variants have "
		       "weight 0  shop/?[31mdns:53/udp, new\n" WHEN_IN
		       "ethertype 0x0806  NOT_IP passed: neither IPv4 nor IPv6\n" WHEN_IN
		       "icmp 192.0.2.1 > 10.96.0.10 about 10.1.0.9:40112 > 10.96.0.10:80  "
		       "ICMP_FORWARDED to 10.1.0.7:8080  shop/api:80 green\n",
	       BEGUN ENDED);
	cr_expect_str_eq(lab.last_command, "trace");
	cli_lab_stop(&lab);
}

Test(cli_trace, or_one_line_for_each_stage)
{
	struct cli_lab lab;

	cli_lab_start(&lab, "[" BEGIN "," NEW "," ANSWER "," REFUSED "," END "]");
	expect(&lab, "-v", 0,
	       WHEN_IN "cpu 1\n"
		       "  parse      tcp SYN 10.1.0.9:40112 > 10.96.0.10:80, 60 bytes\n"
		       "  lookup     service shop/api:80\n"
		       "  conntrack  no entry\n"
		       "  admit      a new flow may begin\n"
		       "  affinity   the client has no session\n"
		       "  variant    green, weight 5 of 100, hash 9f00000000000001\n"
		       "  backend    10.1.0.7:8080\n"
		       "  entry      made\n"
		       "  rewrite    10.1.0.9:40112 > 10.96.0.10:80 becomes 10.1.0.9:40112 > "
		       "10.1.0.7:8080\n"
		       "  verdict    FORWARDED: translated to a backend (pass, 1.9 us)\n" WHEN_OUT
		       "cpu 1\n"
		       "  parse      tcp ACK 10.1.0.7:8080 > 10.1.0.9:40112, 4000 bytes in 3 "
		       "segments\n"
		       "  conntrack  syn ack, 3.2 s old, idle for 12 ms, begun at eth0: now "
		       "established\n"
		       "  rewrite    10.1.0.7:8080 > 10.1.0.9:40112 becomes 10.96.0.10:80 > "
		       "10.1.0.9:40112\n"
		       "  verdict    RESTORED: answer (pass, 1.9 us)\n" WHEN_IN "cpu 1\n"
		       "  parse      udp [fd00::9]:5353 > [fd00::10]:53, 60 bytes\n"
		       "  lookup     service shop/dns:53/udp\n"
		       "  conntrack  closed, 60 s old, idle for 5 ms, begun at eth0: of no use any "
		       "more, removed\n"
		       "  admit      a new flow may begin\n"
		       "  variant    NO_WEIGHT: all variants have weight 0\n"
		       "  verdict    NO_WEIGHT: all variants have weight 0 (redirect, 1.9 us)\n",
	       BEGUN ENDED);
	cli_lab_stop(&lab);
}

Test(cli_trace, programs_get_one_object_a_line_and_nothing_else)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;
	json_t *packet;
	char *newline;

	cli_lab_start(&lab, "[" BEGIN "," NEW "," FOREIGN "," END "]");
	cr_expect_eq(trace(&lab, "-o json", &out, &err), 0);
	newline = strchr(out, '\n');
	cr_assert_not_null(newline);
	*newline = '\0';
	packet = json_loads(out, 0, NULL);
	cr_expect_str_eq(cli_str(packet, "reason"), "FORWARDED");
	json_decref(packet);
	packet = json_loads(newline + 1, 0, NULL);
	cr_expect_str_eq(cli_str(packet, "reason"), "NOT_IP");
	json_decref(packet);
	cr_expect_str_eq(err, BEGUN ENDED);
	cli_lab_stop(&lab);
}

Test(cli_trace, what_is_not_shown_is_said)
{
	struct cli_lab lab;

	cli_lab_start(
		&lab,
		"[" BEGIN ",{\"missed\":{\"limited\":12,\"lost\":0}},"
		"{\"missed\":{\"limited\":0,\"lost\":3}},"
		"{\"end\":{\"told\":0,\"limited\":12,\"lost\":3,\"why\":\"the agent ends\"}}]");
	expect(&lab, "", 0, "",
	       BEGUN
	       "shunt: 12 more packets matched, above the rate: --rate N\n"
	       "shunt: 3 packets were lost: a narrower filter, or a smaller --rate\n"
	       "shunt: 0 packets shown, 12 more above the rate, 3 lost; ended: the agent ends\n");
	cli_lab_stop(&lab);
}

Test(cli_trace, an_agent_that_goes_away_is_not_an_end)
{
	struct cli_lab lab;

	cli_lab_start(&lab, "[" BEGIN "]");
	expect(&lab, "", SHUNT_CTL_UNAVAILABLE, "",
	       BEGUN
	       "shunt: the agent has gone; its programs go on splitting and tell nothing more, "
	       "and the next agent puts the plain ones back\n");
	cli_lab_stop(&lab);
}

Test(cli_trace, the_request_has_what_was_asked_for_and_no_more)
{
	struct cli_lab lab;
	json_t *want;

	cli_lab_start(&lab, "[" END "]");
	expect(&lab, "tcp --for 5m host 10.1.0.9 -n 7 --rate 50", 0, "", ENDED);
	want = json_pack("{s:s, s:i, s:i, s:i}", "filter", "tcp host 10.1.0.9", "for_ms", 300000,
			 "count", 7, "rate", 50);
	cr_expect(json_equal(lab.last_args, want));
	json_decref(want);
	expect(&lab, "", 0, "", ENDED);
	want = json_pack("{s:s}", "filter", "");
	cr_expect(json_equal(lab.last_args, want));
	json_decref(want);
	cli_lab_stop(&lab);
}

Test(cli_trace, mistakes_are_told_before_the_agent_is_asked)
{
	struct cli_lab lab;

	cli_lab_start(&lab, "[" END "]");
	expect(&lab, "tcp port http", SHUNT_CTL_USAGE, "",
	       "shunt: filter: at character 10, \"http\": want a port from 1 to 65535\n");
	expect(&lab, "--for 0s", SHUNT_CTL_USAGE, "",
	       "shunt: --for 0s: want a time from 1ms to 24h\n");
	expect(&lab, "--for 25h", SHUNT_CTL_USAGE, "",
	       "shunt: --for 25h: want a time from 1ms to 24h\n");
	expect(&lab, "-n 0", SHUNT_CTL_USAGE, "",
	       "shunt: --count 0: want a number from 1 to 1000000000\n");
	expect(&lab, "--rate much", SHUNT_CTL_USAGE, "",
	       "shunt: --rate much: want a number from 1 to 1000000\n");
	cr_expect_str_eq(lab.last_command, "");
	cli_lab_refuse(&lab, SHUNT_CTL_REFUSED, "somebody traces already");
	expect(&lab, "", SHUNT_CTL_REFUSED, "", "shunt: somebody traces already\n");
	cli_lab_stop(&lab);
}
