// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli_lab.h"
#include "cli_run_line.h"
#include "policy_example.h"

#define STATUS(policy)                                                                             \
	"{\"version\":\"0.1.0\",\"abi_version\":1,\"generation\":14,\"pid\":411,\"uptime_s\":8,"   \
	"\"health\":\"ok\",\"services\":[{\"namespace\":\"shop\",\"name\":\"app\","                \
	"\"affinity\":\"connection\",\"frontends\":[],\"variants\":[],\"source\":{},"              \
	"\"conditions\":[],\"policy\":" policy "}],\"gates\":[]}"

#define BY ", NOT ENFORCED by this version (TrafficPolicy shop/p)\n"

Test(cli_policy, status_of_a_service_shows_what_it_lets_in)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, STATUS(POLICY_JSON));
	cr_assert_eq(cli_run_line(&lab, "status shop/app", &out, &err), 0, "%s", err);
	cr_expect(
		strstr(out,
		       "  policy      at most 100 connections a second, burst 50, else reject" BY
		       "              at most 6 requests in 60 s for each client (/32, /64), burst "
		       "1, "
		       "else 429" BY "              at most 1000000 bytes a second to green, burst "
		       "1, else drop" BY
		       "              at most 20 connections at once for each backend of green, "
		       "else reject" BY
		       "              clients of 10.0.0.0/8, ::/0, but not of 10.9.0.0/16" BY
		       "              breaker of the service: NetworkErrorRatio() > 0.3\n"
		       "                from 20 requests on; answers 503 or leads to blue for 10 "
		       "s, "
		       "recovers in 10 s" BY "              backends are out for 30 s after 5 "
		       "errors in a row, up to 10 % "
		       "of them" BY
		       "              dead-man switch: green fails at most 5.00 % more than blue, "
		       "100 samples in 10 s" BY "              connections end after 1 h 30 min" BY
		       "              signals: http" BY),
		"%s", out);
	cli_lab_stop(&lab);
}

Test(cli_policy, what_is_enforced_has_no_remark)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab,
		      STATUS("{\"in_flight\":[{\"max\":3,\"unit\":\"connections\",\"scope\":"
			     "\"service\",\"answer\":\"drop\",\"enforced\":true,"
			     "\"source\":{\"kind\":\"Middleware\",\"namespace\":\"n\",\"name\":"
			     "\"m\"}}],\"load_balancer_sources\":[\"1.0.0.0/8\",\"2.0.0.0/8\","
			     "\"3.0.0.0/8\",\"4.0.0.0/8\",\"5.0.0.0/8\"]}"));
	cr_assert_eq(cli_run_line(&lab, "status shop/app", &out, &err), 0, "%s", err);
	cr_expect(strstr(out,
			 "  policy      at most 3 connections at once, else drop "
			 "(Middleware n/m)\n"
			 "              at the load balancer's addresses clients of 1.0.0.0/8, "
			 "2.0.0.0/8, 3.0.0.0/8, 4.0.0.0/8 and 1 more\n"),
		  "%s", out);
	cli_lab_stop(&lab);
}

Test(cli_policy, without_a_policy_there_is_no_line)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, STATUS("null"));
	cr_assert_eq(cli_run_line(&lab, "status shop/app", &out, &err), 0, "%s", err);
	cr_expect_null(strstr(out, "policy"), "%s", out);
	cli_lab_stop(&lab);
}

Test(cli_policy, check_shows_what_holds_for_which_service)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab;

	cli_lab_start(&lab, NULL);
	cli_run_line(&lab, "check --policies manifests/examples/guarded-canary.yaml", &out, &err);
	cr_expect(strstr(out, "demo/checkout\n"
			      "  policy      at most 2000 connections a second, burst 500, else "
			      "reject"),
		  "%s%s", out, err);
	cr_expect(strstr(out, "at most 100 connections at once for each backend of "
			      "checkout-canary, else reject"),
		  "%s", out);
	cli_lab_stop(&lab);
}

Test(cli_policy, check_has_the_policies_for_programs)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	json_auto_t *got = NULL;
	const json_t *policy;
	struct cli_lab lab;

	cli_lab_start(&lab, NULL);
	cli_run_line(&lab, "check --policies -o json manifests/examples/guarded-canary.yaml", &out,
		     &err);
	got = json_loads(out, 0, NULL);
	cr_assert_not_null(got, "%s%s", out, err);
	policy = json_object_get(json_object_get(got, "policies"), "demo/checkout");
	cr_expect_eq(json_array_size(json_object_get(policy, "rate_limits")), 2, "%s", out);
	cli_lab_stop(&lab);
}
