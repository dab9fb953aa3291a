// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli_run_line.h"

/* What `shunt breaker` sends and prints, and how `shunt status` shows breakers. */

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

#define RULE                                                                                       \
	"\"expression\":\"NetworkErrorRatio() > 0.30\",\"check_ms\":100,\"fallback_ms\":10000,"    \
	"\"recovery_ms\":5000,\"response_code\":503,\"min_requests\":20,\"enforced\":true,"        \
	"\"source\":{\"kind\":\"TrafficPolicy\",\"namespace\":\"shop\",\"name\":\"api\"}"

static const char of_variants[] =
	"{\"service\":\"api\",\"namespace\":\"shop\",\"breakers\":[{\"split\":\"\"," RULE
	",\"scope\":\"variant\",\"fallback\":\"blue\",\"instances\":["
	"{\"variant\":\"blue\",\"backend\":\"\",\"phase\":\"closed\",\"since\":null,"
	"\"left_ms\":null,\"opened\":0,\"requests\":1200},"
	"{\"variant\":\"green\",\"backend\":\"\",\"phase\":\"open\","
	"\"since\":\"2026-11-23T07:32:47.123Z\",\"left_ms\":7300,\"opened\":3,\"requests\":0}]}],"
	"\"changed\":true,\"took_ms\":0.42,\"warning\":\"\"}";

#define TABLE                                                                                      \
	"shop/api: breaker of each variant: NetworkErrorRatio() > 0.30 "                           \
	"(TrafficPolicy shop/api)\n"                                                               \
	"  from 20 requests on; open for 10 s, leads to blue, recovers in 5.0 s\n"                 \
	"  VARIANT  STATE   SINCE                ENDS IN  OPENED  REQUESTS\n"                      \
	"  blue     closed                                     0      1200\n"                      \
	"  green    open    2026-11-23 07:32:47    7.3 s       3         0\n"

Test(cli_breaker, each_breaker_of_a_service_is_a_line)
{
	struct cli_lab lab;

	cli_lab_start(&lab, of_variants);
	assert_output(&lab, "breaker shop/api", 0, TABLE, "");
	cr_assert_str_eq(lab.last_command, "breaker");
	cr_assert_eq(json_object_size(lab.last_args), 1);
	cr_assert_str_eq(json_string_value(json_object_get(lab.last_args, "service")), "shop/api");
	cli_lab_stop(&lab);
}

Test(cli_breaker, what_is_forced_is_asked_with_variant_and_reason)
{
	json_auto_t *want = json_pack("{s:s, s:s, s:s, s:s, s:b}", "service", "shop/api", "action",
				      "open", "variant", "green", "reason", "moves", "force", 1);
	struct cli_lab lab;

	cli_lab_start(&lab, of_variants);
	assert_output(&lab, "breaker shop/api open --variant green -r moves -f", 0,
		      TABLE "in the kernel after 0.4 ms\n", "");
	cr_assert(json_equal(lab.last_args, want));
	cli_lab_stop(&lab);
}

Test(cli_breaker, a_change_that_changes_nothing_and_a_warning_are_said)
{
	struct cli_lab lab;

	cli_lab_start(&lab,
		      "{\"service\":\"api\",\"namespace\":\"shop\",\"breakers\":["
		      "{\"split\":\"53/udp\"," RULE ",\"scope\":\"service\",\"fallback\":\"\","
		      "\"instances\":[{\"variant\":\"\",\"backend\":\"\","
		      "\"phase\":\"forced closed\",\"opened\":1}]}],"
		      "\"changed\":false,\"took_ms\":0.1,\"warning\":\"it is late\"}");
	assert_output(&lab, "breaker shop/api close --port 53/udp", 0,
		      "shop/api:53/udp: breaker of the service: NetworkErrorRatio() > 0.30 "
		      "(TrafficPolicy shop/api)\n"
		      "  from 20 requests on; open for 10 s, recovers in 5.0 s\n"
		      "  STATE          OPENED\n"
		      "  forced closed       1\n"
		      "nothing to change: this is in force already\n",
		      "shunt: warning: it is late\n");
	cr_assert_str_eq(json_string_value(json_object_get(lab.last_args, "protocol")), "udp");
	cli_lab_stop(&lab);
}

Test(cli_breaker, wrong_words_are_refused_before_the_agent_is_asked)
{
	struct cli_lab lab;

	cli_lab_start(&lab, of_variants);
	assert_output(&lab, "breaker shop/api shut", 2, "",
		      "shunt: shut: want open, close or auto\n");
	assert_output(&lab, "breaker shop/api --variant green", 2, "",
		      "shunt: nothing to do: want shunt breaker shop/api open, close or auto\n");
	cr_assert_str_eq(lab.last_command, "");
	cli_lab_stop(&lab);
}

Test(cli_breaker, json_is_what_the_agent_said)
{
	json_auto_t *want = json_loads(of_variants, 0, NULL), *got = NULL;
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, of_variants);
	cr_assert_eq(cli_run_line(&lab, "breaker shop/api -o json", &out, &err), 0);
	got = json_loads(out, 0, NULL);
	cr_assert(json_equal(want, got));
	cli_lab_stop(&lab);
}

/* ---- status ---------------------------------------------------------------------------------- */

#define STATUS(breakers)                                                                           \
	"{\"services\":[{\"namespace\":\"shop\",\"name\":\"api\",\"variants\":["                   \
	"{\"name\":\"blue\",\"weight\":1,\"share\":0.5,"                                           \
	"\"backends\":[{\"address\":\"10.1.0.1\",\"state\":\"ready\"}]},"                          \
	"{\"name\":\"green\",\"weight\":1,\"share\":0.5,"                                          \
	"\"backends\":[{\"address\":\"10.1.0.2\",\"state\":\"ready\"}]}],"                         \
	"\"override\":{},\"breakers\":[" breakers "]}]}"
#define BREAKER(variant, backend, phase, more)                                                     \
	"{\"variant\":\"" variant "\",\"backend\":\"" backend "\",\"phase\":\"" phase "\"" more "}"

static void assert_in(const struct cli_lab *lab, const char *line, const char *want)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;

	cr_assert_eq(cli_run_line(lab, line, &out, &err), 0);
	cr_assert(strstr(out, want), "shunt %s printed\n%s(want)\n%s", line, out, want);
}

Test(cli_breaker, the_overview_has_a_word_about_one_that_is_not_closed)
{
	struct cli_lab lab;

	cli_lab_start(&lab, STATUS(BREAKER("", "", "recovering", "")));
	assert_in(&lab, "status", "1/1  override, breaker recovering\n");
	cli_lab_stop(&lab);

	cli_lab_start(&lab, STATUS(BREAKER("blue", "", "closed",
					   "") "," BREAKER("green", "", "forced open", "")));
	assert_in(&lab, "status", "1/1  override\n");
	assert_in(&lab, "status", "1/1  breaker forced open\n");
	cli_lab_stop(&lab);

	cli_lab_start(&lab, STATUS(BREAKER("green", "10.1.0.2:80", "recovering",
					   "") "," BREAKER("green", "10.1.0.3:80", "open", "")));
	assert_in(&lab, "status", "1/1  breaker open at a backend\n");
	cli_lab_stop(&lab);
}

Test(cli_breaker, the_page_of_a_service_has_all_of_them)
{
	struct cli_lab lab;

	cli_lab_start(&lab, STATUS(BREAKER("blue", "", "closed", "") "," BREAKER(
				    "green", "", "open", ",\"left_ms\":7300")));
	assert_in(&lab, "status shop/api",
		  "  breaker     blue closed, green open for another 7.3 s\n");
	cli_lab_stop(&lab);

	cli_lab_start(&lab, STATUS(BREAKER("green", "10.1.0.2:80", "closed",
					   "") "," BREAKER("green", "10.1.0.3:80", "open", "")));
	assert_in(&lab, "status shop/api", "  breaker     10.1.0.3:80 open, 1 backend closed\n");
	cli_lab_stop(&lab);

	cli_lab_start(&lab, STATUS(BREAKER("", "", "closed", "")));
	assert_in(&lab, "status shop/api", "  breaker     closed\n");
	cli_lab_stop(&lab);
}
