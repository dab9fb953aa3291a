// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli_run_line.h"

static void assert_output(const struct cli_lab *lab, const char *line, int exit_code,
			  const char *want_out, const char *want_err)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	int r = cli_run_line(lab, line, &out, &err);

	cr_assert_str_eq(out, want_out, "shunt %s printed\n%s(want)\n%s", line, out, want_out);
	cr_assert_str_eq(err, want_err, "shunt %s said\n%s(want)\n%s", line, err, want_err);
	cr_assert_eq(r, exit_code, "shunt %s ended with %d", line, r);
}

/* Two variants whose HTTP is looked at, one of them idle, and one where it is not. */
static const char http_status[] =
	"{\"health\":\"ok\",\"services\":[{\"namespace\":\"shop\",\"name\":\"api\",\"ports\":["
	"{\"port\":80,\"protocol\":\"TCP\",\"signals\":\"http\"},"
	"{\"port\":443,\"protocol\":\"TCP\",\"signals\":\"opaque\"},"
	"{\"port\":443,\"protocol\":\"UDP\",\"signals\":\"off\"}],\"variants\":["
	"{\"name\":\"blue\",\"weight\":1,\"share\":1.0,\"http\":{\"requests\":99999,"
	"\"success_rate\":0.5,\"p99_ms\":9,\"window\":{\"seconds\":57.4,\"requests\":1200,"
	"\"responses\":{\"unknown\":60,\"1xx\":0,\"2xx\":1110,\"3xx\":0,\"4xx\":6,\"5xx\":24},"
	"\"success_rate\":0.978947,\"p50_ms\":3.125,\"p99_ms\":1320.5}}},"
	"{\"name\":\"green\",\"weight\":0,\"share\":0.0,\"http\":{\"requests\":7,"
	"\"success_rate\":1.0,\"window\":{\"seconds\":57.4,\"requests\":0,\"responses\":{"
	"\"unknown\":0,\"1xx\":0,\"2xx\":0,\"3xx\":0,\"4xx\":0,\"5xx\":0},"
	"\"success_rate\":null,\"p50_ms\":null,\"p99_ms\":null}}},"
	"{\"name\":\"tcp\",\"weight\":0,\"share\":0.0,\"http\":null}]}]}";

static const char status[] =
	"{\"version\":\"0.1.0\",\"abi_version\":1,\"generation\":14,\"pid\":411,\"uptime_s\":8040,"
	"\"health\":\"degraded\",\"services\":["
	"{\"namespace\":\"shop\",\"name\":\"api\",\"owned\":false,\"affinity\":\"connection\","
	"\"frontends\":[{\"address\":\"10.96.0.10\",\"port\":80,\"protocol\":\"TCP\"},"
	"{\"address\":\"fd00::10\",\"port\":80,\"protocol\":\"TCP\"},"
	"{\"address\":\"192.0.2.4\",\"port\":30080,\"protocol\":\"TCP\",\"service_port\":80,"
	"\"node_port\":true},"
	"{\"address\":\"fd01::4\",\"port\":30080,\"protocol\":\"TCP\",\"service_port\":80,"
	"\"node_port\":true}],"
	"\"variants\":["
	"{\"name\":\"blue\",\"weight\":95,\"share\":0.95,\"manifest_weight\":100,"
	"\"measured_share\":0.9488,\"new_connections\":12340,\"group\":\"Resolved\","
	"\"drained\":false,\"connections_total\":1200345,\"connections_active\":120,\"rejects\":0,"
	"\"packets_in\":1,\"bytes_in\":123456789,\"packets_out\":1,\"bytes_out\":9876543210,"
	"\"backends\":[{\"address\":\"10.1.0.7\",\"port\":8080,\"state\":\"ready\","
	"\"connections_total\":600000,\"connections_active\":60},"
	"{\"address\":\"fd00:1::7\",\"port\":8080,\"state\":\"terminating\","
	"\"connections_total\":600345,\"connections_active\":60}]},"
	"{\"name\":\"green\",\"weight\":5,\"share\":0.05,\"manifest_weight\":0,"
	"\"measured_share\":0.0512,\"new_connections\":666,\"group\":\"Resolved\","
	"\"drained\":false,\"connections_total\":666,\"connections_active\":12,\"rejects\":3,"
	"\"packets_in\":1,\"bytes_in\":812,\"packets_out\":1,\"bytes_out\":0,"
	"\"backends\":[{\"address\":\"10.1.0.9\",\"port\":8080,\"state\":\"ready\","
	"\"connections_total\":666,\"connections_active\":12}]}],"
	"\"source\":{\"kind\":\"HTTPRoute\",\"namespace\":\"shop\",\"name\":\"api\","
	"\"file\":\"/etc/shunt/api.yaml\",\"line\":3},"
	"\"override\":{\"command\":\"weight\",\"who_uid\":0,\"when\":\"2020-01-01T00:00:00.000Z\","
	"\"reason\":\"canary \\u001b[31mof 1.4\"},"
	"\"conditions\":[{\"type\":\"Accepted\",\"status\":\"True\",\"reason\":\"Accepted\","
	"\"message\":\"\"}]},"
	"{\"namespace\":\"shop\",\"name\":\"web\",\"owned\":true,\"affinity\":\"session\","
	"\"frontends\":[],\"variants\":["
	"{\"name\":\"v1\",\"weight\":100,\"share\":1.0,\"manifest_weight\":100,"
	"\"measured_share\":null,\"new_connections\":0,\"group\":\"Resolved\",\"drained\":false,"
	"\"connections_active\":0,\"backends\":[{\"address\":\"10.1.0.8\",\"port\":80,"
	"\"state\":\"not-ready\"}]},"
	"{\"name\":\"v2\",\"weight\":0,\"share\":0.0,\"measured_share\":null,"
	"\"group\":\"BackendNotFound\",\"connections_active\":0,\"backends\":[]}],"
	"\"source\":{},\"override\":null,\"conditions\":[{\"type\":\"WeightRefused\","
	"\"status\":\"True\",\"reason\":\"NoReadyEndpoints\",\"message\":\"v2 has none ready\"}]}],"
	"\"gates\":[{\"ifname\":\"veth1\",\"ifindex\":7,\"hook\":\"tc\",\"mode\":\"tcx\"}],"
	"\"problems\":[{\"file\":\"a.yaml\",\"line\":3,\"column\":5,\"field\":\"\","
	"\"text\":\"a map has two keys a\"}],"
	"\"reports\":[{\"kind\":\"TCPRoute\",\"namespace\":\"x\",\"name\":\"y\","
	"\"file\":\"b.yaml\",\"line\":9,\"conditions\":[{\"type\":\"Accepted\","
	"\"status\":\"False\",\"reason\":\"UnsupportedValue\",\"message\":\"spec.rules[1]: one "
	"rule "
	"only\"}]}],"
	"\"reasons\":[{\"name\":\"FORWARDED\",\"action\":\"FORWARD\",\"text\":\"translated to a "
	"backend\",\"packets\":81234},{\"name\":\"NOT_IP\",\"action\":\"PASS\",\"text\":\"x\","
	"\"packets\":0}],"
	"\"flows\":{\"used\":512,\"capacity\":262144,\"states\":{}}}";

#define STATUS_HEAD                                                                                \
	"shuntd 0.1.0, degraded, up 2 h 14 min, generation 14, 1 gate, 512/262144 flows\n\n"

Test(cli_output, status_lists_services_with_asked_and_measured_shares)
{
	struct cli_lab lab;

	cli_lab_start(&lab, status);
	assert_output(
		&lab, "status", 0,
		STATUS_HEAD
		"SERVICE   VARIANT  WEIGHT    ASKED  MEASURED  ACTIVE  READY  REMARKS\n"
		"shop/api  blue         95   95.0 %    94.9 %     120    1/2  override\n"
		"          green         5    5.0 %     5.1 %      12    1/1\n"
		"shop/web  v1          100  100.0 %         -       0    0/1  NoReadyEndpoints\n"
		"          v2            0    0.0 %         -       0    0/0  BackendNotFound\n"
		"\n"
		"Problems:\n"
		"  a.yaml:3:5: a map has two keys a\n"
		"  b.yaml:9: TCPRoute x/y: UnsupportedValue: spec.rules[1]: one rule only\n",
		"");
	cr_assert_str_eq(lab.last_command, "status");
	cr_assert_eq(json_object_size(lab.last_args), 0);
	cli_lab_stop(&lab);
}

Test(cli_output, status_shows_the_http_of_the_last_minute)
{
	CLEANUP(freep) char *list = NULL;
	CLEANUP(freep) char *page = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, http_status);
	cr_assert_eq(cli_run_line(&lab, "status", &list, &err), 0);
	free(err);
	cr_assert_eq(cli_run_line(&lab, "status shop/api", &page, &err), 0);
	cli_lab_stop(&lab);
	cr_expect(strstr(list,
			 "SERVICE   VARIANT  WEIGHT    ASKED  MEASURED  ACTIVE  SUCCESS  READY  "
			 "REMARKS\n"
			 "shop/api  blue          1  100.0 %         -       0   97.9 %    0/0"),
		  "%s", list);
	cr_expect(strstr(list, "       -       0        -    0/0"), "green: no answers: %s", list);
	cr_expect(strstr(list, "-       0             0/0"), "tcp: not looked at: %s", list);
	cr_expect(strstr(page,
			 "  signals     80 plaintext HTTP, 443 opaque (TCP only), 443/udp off\n"),
		  "%s", page);
	cr_expect(strstr(page, "  VARIANT  REQUESTS  SUCCESS  4XX  5XX  UNKNOWN      P50     P99\n"
			       "  blue         1200   97.9 %    6   24    5.0 %  3.12 ms  1.32 s\n"
			       "  green           0        -    0    0                 -       -\n"
			       "  plaintext HTTP of the last 57 s; SUCCESS: below 500"),
		  "%s", page);
}

Test(cli_output, status_of_one_service_shows_backends_override_and_conditions)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, status);
	cr_assert_eq(cli_run_line(&lab, "status shop/api", &out, &err), 0);
	cr_assert_str_eq(json_string_value(json_object_get(lab.last_args, "service")), "shop/api");
	cr_assert(strstr(out, "  frontends   10.96.0.10:80/TCP\n"
			      "              [fd00::10]:80/TCP\n"
			      "              *:30080/TCP  NodePort of 80, at 192.0.2.4, fd01::4\n"
			      "              shared with the cluster's proxy\n"),
		  "%s", out);
	cr_assert(strstr(out, "override    weight by root, "), "%s", out);
	cr_assert(strstr(out, "the manifest asks blue=100 green=0\n"), "%s", out);
	cr_assert(strstr(out, "  source      HTTPRoute shop/api, /etc/shunt/api.yaml:3\n"), "%s",
		  out);
	cr_assert(strstr(out,
			 "  VARIANT  WEIGHT   ASKED      MEASURED  ACTIVE  TOTAL  REJECTS        "
			 "IN     OUT\n"
			 "  blue         95  95.0 %  94.9 % \u00b1 0.4     120  1.2 M        0  "
			 "123.5 MB  9.9 GB\n"
			 "  green         5   5.0 %   5.1 % \u00b1 0.4      12    666        3     "
			 "812 B     0 B\n"),
		  "%s", out);
	cr_assert(strstr(out, "  BACKEND           VARIANT  STATE        ACTIVE    TOTAL\n"
			      "  10.1.0.7:8080     blue     ready            60  600.0 k\n"
			      "  [fd00:1::7]:8080  blue     terminating      60  600.3 k\n"),
		  "%s", out);
	cr_assert(strstr(out, "WeightRefused=True NoReadyEndpoints: v2 has none ready"), "%s", out);
	cli_lab_stop(&lab);
}

Test(cli_output, no_escape_sequence_of_a_manifest_reaches_the_terminal)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, status);
	cr_assert_eq(cli_run_line(&lab, "status shop/api", &out, &err), 0);
	cr_assert(strstr(out, "canary ?[31mof 1.4"), "%s", out);
	cr_assert_null(strchr(out, '\033'));
	cli_lab_stop(&lab);
}

Test(cli_output, no_escape_sequence_of_a_refusal_reaches_the_terminal)
{
	struct cli_lab lab;

	cli_lab_start(&lab, NULL);
	cli_lab_refuse(&lab, SHUNT_CTL_REFUSED, "a\033[31m\nb");
	assert_output(&lab, "rollback a", SHUNT_CTL_REFUSED, "", "shunt: a?[31m?b\n");
	cli_lab_stop(&lab);
}

Test(cli_output, every_line_of_status_fits_80_columns)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, status);
	cr_assert_eq(cli_run_line(&lab, "status", &out, &err), 0);
	for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n"))
		cr_assert_leq(strlen(line), 80, "%s", line);
	cli_lab_stop(&lab);
}

Test(cli_output, status_as_json_is_what_the_agent_said)
{
	json_auto_t *want = json_loads(status, 0, NULL), *got = NULL;
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, status);
	cr_assert_eq(cli_run_line(&lab, "status -o json", &out, &err), 0);
	got = json_loads(out, 0, NULL);
	cr_assert(json_equal(want, got));
	cli_lab_stop(&lab);
}

Test(cli_output, status_shows_the_verdict_reasons_that_were_given)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, status);
	cr_assert_eq(cli_run_line(&lab, "status --reasons", &out, &err), 0);
	cr_assert(strstr(out, "PACKETS  ACTION   REASON\n"
			      " 81.2 k  FORWARD  translated to a backend\n"),
		  "%s", out);
	cr_assert_null(strstr(out, "  PASS"), "%s", out);
	cli_lab_stop(&lab);
}

static const char change[] =
	"{\"service\":\"api\",\"namespace\":\"shop\",\"port\":0,\"from\":{\"blue\":100,\"green\":0}"
	","
	"\"to\":{\"blue\":95,\"green\":5},\"changed\":true,\"generation\":14,\"took_ms\":3.21,"
	"\"confirmed\":true,\"warning\":\"\"}";

#define CHANGE_TABLE                                                                               \
	"shop/api\n"                                                                               \
	"  VARIANT  BEFORE    SHARE  AFTER   SHARE\n"                                              \
	"  blue        100  100.0 %     95  95.0 %\n"                                              \
	"  green         0    0.0 %      5   5.0 %\n"                                              \
	"in the kernel after 3.2 ms (generation 14)\n"

Test(cli_output, weight_shows_before_and_after_and_how_long_it_took)
{
	json_auto_t *want =
		json_pack("{s:s, s:{s:i, s:i}, s:s, s:b}", "service", "shop/api", "weights", "blue",
			  95, "green", 5, "reason", "canary", "force", 1);
	struct cli_lab lab;

	cli_lab_start(&lab, change);
	assert_output(&lab, "weight shop/api blue=95 green=5 --reason canary -f", 0, CHANGE_TABLE,
		      "");
	cr_assert_str_eq(lab.last_command, "weight");
	cr_assert(json_equal(lab.last_args, want));
	cli_lab_stop(&lab);
}

Test(cli_output, switch_and_rollback_show_the_same)
{
	struct cli_lab lab;

	cli_lab_start(&lab, change);
	assert_output(&lab, "switch shop/api green --port 80", 0, CHANGE_TABLE, "");
	cr_assert_str_eq(lab.last_command, "switch");
	cr_assert_str_eq(json_string_value(json_object_get(lab.last_args, "variant")), "green");
	cr_assert_eq(json_integer_value(json_object_get(lab.last_args, "port")), 80);
	assert_output(&lab, "rollback shop/api", 0, CHANGE_TABLE, "");
	cr_assert_str_eq(lab.last_command, "rollback");
	assert_output(&lab, "weight shop/api --from-manifest", 0, CHANGE_TABLE, "");
	cr_assert(json_is_true(json_object_get(lab.last_args, "from_manifest")));
	cli_lab_stop(&lab);
}

Test(cli_output, what_was_not_saved_or_not_confirmed_is_said)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, "{\"service\":\"api\",\"namespace\":\"shop\",\"from\":{},\"to\":{},"
			    "\"changed\":true,\"generation\":1,\"took_ms\":1,\"confirmed\":false,"
			    "\"warning\":\"the disk is full\"}");
	cr_assert_eq(cli_run_line(&lab, "rollback api", &out, &err), 0);
	cr_assert(strstr(out, "something else"), "%s", out);
	cr_assert_str_eq(err, "shunt: warning: the disk is full\n");
	cli_lab_stop(&lab);
}

Test(cli_output, a_change_of_many_variants_stays_one_line)
{
	struct cli_lab lab;

	cli_lab_start(&lab,
		      "{\"service\":\"api\",\"namespace\":\"shop\",\"gone\":true,\"changes\":["
		      "{\"when\":\"2026-11-23T07:32:47.123Z\",\"who_uid\":0,\"command\":\"weight\","
		      "\"reason\":\"\",\"from\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,"
		      "\"g\":1,\"h\":1},\"to\":{\"a\":2,\"b\":2,\"c\":2,\"d\":2,\"e\":2,\"f\":2,"
		      "\"g\":2,\"h\":2}}]}");
	assert_output(&lab, "history shop/api", 0,
		      "shop/api has no split any more.\n"
		      "WHEN (UTC)           WHO   BY      CHANGE\n"
		      "2026-11-23 07:32:47  root  weight  a 1 -> 2, b 1 -> 2, c 1 -> 2, d 1 -> 2, "
		      "e 1 -> 2, f 1 -> 2 and 2 more\n",
		      "");
	cli_lab_stop(&lab);
}

Test(cli_output, history_shows_who_when_what_and_why)
{
	struct cli_lab lab;

	cli_lab_start(&lab,
		      "{\"service\":\"api\",\"namespace\":\"shop\",\"changes\":["
		      "{\"when\":\"2026-11-23T07:32:47.123Z\",\"who_uid\":0,\"command\":\"weight\","
		      "\"reason\":\"canary\",\"from\":{\"blue\":100,\"green\":0,\"c\":1},"
		      "\"to\":{\"blue\":95,\"green\":5,\"c\":1}},"
		      "{\"when\":\"2026-11-22T07:32:47.123Z\",\"who_uid\":-1,"
		      "\"command\":\"manifest\",\"reason\":\"\",\"from\":{},"
		      "\"to\":{\"blue\":100}}]}");
	assert_output(&lab, "history shop/api -n 2", 0,
		      "WHEN (UTC)           WHO   BY        CHANGE                        REASON\n"
		      "2026-11-23 07:32:47  root  weight    blue 100 -> 95, green 0 -> 5  canary\n"
		      "2026-11-22 07:32:47  -     manifest  blue 100\n",
		      "");
	cli_lab_stop(&lab);
}

Test(cli_output, ports_that_are_split_differently_are_told_apart)
{
#define SPLIT(port, protocol)                                                                      \
	"{\"namespace\":\"shop\",\"name\":\"api\",\"ports\":[{\"name\":\"\",\"port\":" port        \
	",\"protocol\":\"" protocol "\"}],\"variants\":[{\"name\":\"blue\",\"weight\":1,"          \
	"\"share\":1.0,\"connections_active\":0,\"backends\":[]}]}"
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, "{\"version\":\"0.1.0\",\"health\":\"ok\",\"services\":[" SPLIT(
				    "80", "TCP") "," SPLIT("53", "UDP") "]}");
	cr_assert_eq(cli_run_line(&lab, "status", &out, &err), 0);
	cr_expect(strstr(out, "\nshop/api:80      blue "), "%s", out);
	cr_expect(strstr(out, "\nshop/api:53/udp  blue "), "%s", out);
	free(out);
	free(err);
	cr_assert_eq(cli_run_line(&lab, "status shop/api", &out, &err), 0);
	cr_expect(strstr(out, "\nshop/api:80\n"), "%s", out);
	cr_expect(strstr(out, "\nshop/api:53/udp\n"), "%s", out);
	cli_lab_stop(&lab);

	cli_lab_start(&lab,
		      "{\"service\":\"api\",\"namespace\":\"shop\",\"changes\":["
		      "{\"when\":\"2026-11-23T07:32:47.123Z\",\"who_uid\":0,\"command\":\"weight\","
		      "\"reason\":\"\",\"split\":\"53/udp\",\"from\":{},\"to\":{\"blue\":95}}]}");
	assert_output(&lab, "history shop/api", 0,
		      "WHEN (UTC)           PORTS   WHO   BY      CHANGE\n"
		      "2026-11-23 07:32:47  53/udp  root  weight  blue 95\n",
		      "");
	cli_lab_stop(&lab);
}

/* What both pages say of blue and green, with @share of blue's and green's 0. */
static void assert_remaining(const char *share, int blue, int green, const char *in_list,
			     const char *on_page)
{
	CLEANUP(freep) char *list = NULL;
	CLEANUP(freep) char *page = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;
	char text[600];

	snprintf(text, sizeof(text),
		 "{\"services\":[{\"namespace\":\"shop\",\"name\":\"api\",\"variants\":["
		 "{\"name\":\"blue\",\"weight\":0,\"share\":%s,\"connections_active\":%d,"
		 "\"backends\":[{\"address\":\"10.1.0.1\",\"state\":\"ready\"}]},"
		 "{\"name\":\"green\",\"weight\":0,\"share\":0.0,\"connections_active\":%d,"
		 "\"backends\":[{\"address\":\"10.1.0.2\",\"state\":\"ready\"}]}]}]}",
		 share, blue, green);
	cli_lab_start(&lab, text);
	cr_assert_eq(cli_run_line(&lab, "status", &list, &err), 0);
	free(err);
	cr_assert_eq(cli_run_line(&lab, "status shop/api", &page, &err), 0);
	cli_lab_stop(&lab);
	cr_expect(strstr(list, in_list), "%s(want)\n%s", list, in_list);
	cr_expect(strstr(page, on_page), "%s(want)\n%s", page, on_page);
	cr_expect_eq(!!strstr(page, "on blue,"), !!strstr(on_page, "on blue,"), "%s", page);
	cr_expect_eq(!!strstr(page, "on green,"), !!strstr(on_page, "on green,"), "%s", page);
}

Test(cli_output, after_a_switch_status_says_how_many_connections_remain)
{
	assert_remaining("0.0", 100, 0,
			 "    100    1/1  100 connections remain\n"
			 "          green         0  0.0 %         -       0    1/1\n",
			 "are in REJECTS\n  100 connections remain on blue, whose share is 0: each "
			 "keeps its variant until it ends\n\n");
	assert_remaining("0.0", 1, 2, "  1 connection remains\n",
			 "  1 connection remains on blue, whose share is 0: each keeps its variant "
			 "until it ends\n  2 connections remain on green, ");
	assert_remaining("0.5", 100, 0, "    100    1/1\n", "are in REJECTS\n\n");
}

Test(cli_output, a_drained_variant_is_seen_beside_what_else_is_wrong)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, "{\"services\":[{\"namespace\":\"shop\",\"name\":\"mm\",\"variants\":["
			    "{\"name\":\"blue\",\"weight\":80,\"share\":0.0,\"drained\":true,"
			    "\"backends\":[{\"address\":\"10.1.0.1\",\"state\":\"ready\"}]}],"
			    "\"conditions\":[{\"type\":\"EndpointRefused\",\"status\":\"True\","
			    "\"reason\":\"AddressNotAllowed\",\"message\":\"\"}]}]}");
	cr_assert_eq(cli_run_line(&lab, "status", &out, &err), 0);
	cr_expect(strstr(out, "AddressNotAllowed, drained\n"), "%s", out);
	free(out);
	free(err);
	cr_assert_eq(cli_run_line(&lab, "status shop/mm", &out, &err), 0);
	cr_expect(strstr(out, "  REMARKS\n"), "%s", out);
	cr_expect(strstr(out, "  drained\n"), "%s", out);
	cli_lab_stop(&lab);
}

Test(cli_output, drain_says_what_is_still_open)
{
	struct cli_lab lab;

	cli_lab_start(&lab, "{\"service\":\"api\",\"namespace\":\"shop\",\"kind\":\"variant\","
			    "\"target\":\"blue\",\"drained\":true,\"deadline_ms\":300000,"
			    "\"connections_active\":12,\"changed\":true,\"generation\":15,"
			    "\"took_ms\":2.9,\"confirmed\":true,\"warning\":\"\"}");
	assert_output(
		&lab, "drain shop/api blue --deadline 5m", 0,
		"shop/api: variant blue gets nothing new; 12 connections are active, deadline "
		"in 5 min\nin the kernel after 2.9 ms (generation 15)\n",
		"");
	cr_assert_eq(json_integer_value(json_object_get(lab.last_args, "deadline_ms")), 300000);
	cli_lab_stop(&lab);
}

Test(cli_output, events_are_lines)
{
	struct cli_lab lab;

	cli_lab_start(&lab,
		      "{\"events\":[{\"time\":\"2026-11-23T07:32:47.123Z\",\"level\":\"info\","
		      "\"reason\":\"WeightChanged\",\"object\":\"shop/api\",\"text\":\"blue 100 "
		      "-> 95\"},{\"time\":\"2026-11-23T07:32:48.000Z\",\"level\":\"warn\","
		      "\"reason\":\"Started\",\"object\":\"\",\"text\":\"x\"}]}");
	assert_output(&lab, "events --last 2", 0,
		      "2026-11-23 07:32:47  WeightChanged  shop/api  blue 100 -> 95\n"
		      "2026-11-23 07:32:48  Started  x\n",
		      "");
	cr_assert_eq(json_integer_value(json_object_get(lab.last_args, "last")), 2);
	cli_lab_stop(&lab);
}

Test(cli_output, detach_by_the_agent_tells_what_was_left)
{
	struct cli_lab lab;

	cli_lab_start(&lab, "{\"gates\":8,\"flows_left\":2,\"took_ms\":1834.0,\"drained\":true}");
	assert_output(
		&lab, "detach --drain --deadline 1s", 0,
		"Detached after 1.8 s: the cluster's proxy serves everything. 2 connections were "
		"still open.\n",
		"");
	cr_assert(json_is_true(json_object_get(lab.last_args, "drain")));
	cr_assert_eq(json_integer_value(json_object_get(lab.last_args, "deadline_ms")), 1000);
	cli_lab_stop(&lab);
}

Test(cli_output, a_refusal_is_one_sentence_and_its_exit_code)
{
	struct cli_lab lab;

	cli_lab_start(&lab, change);
	for (int code = SHUNT_CTL_USAGE; code <= SHUNT_CTL_INTERNAL; code++) {
		cli_lab_refuse(&lab, (enum shunt_ctl_code)code, "shop/api has no variant red");
		assert_output(&lab, "switch shop/api red", code, "",
			      "shunt: shop/api has no variant red\n");
		assert_output(&lab, "detach", code, "", "shunt: shop/api has no variant red\n");
	}
	cli_lab_stop(&lab);
}

Test(cli_output, completion_asks_for_names)
{
	struct cli_lab lab;

	cli_lab_start(&lab, status);
	assert_output(&lab, "complete services", 0, "shop/api\nshop/web\n", "");
	assert_output(&lab, "complete weights shop/api", 0, "blue=\ngreen=\nv1=\nv2=\n", "");
	cli_lab_stop(&lab);
}
