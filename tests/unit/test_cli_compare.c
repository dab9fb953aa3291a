// SPDX-License-Identifier: Apache-2.0
/* shunt compare: which variants, what it says of them, and what it refuses. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli_run_line.h"

TestSuite(cli_compare, .timeout = 30);

#define VARIANT(name, http) "{\"name\":\"" name "\",\"http\":" http "}"
#define HTTP(ok, failed, times)                                                                    \
	"{\"requests\":" #ok ",\"responses\":{\"unknown\":0,\"2xx\":" #ok ",\"5xx\":" #failed      \
	"},\"times\":" times "}"
#define SERVICE(port, variants)                                                                    \
	"{\"namespace\":\"shop\",\"name\":\"api\",\"ports\":[{\"port\":" #port                     \
	",\"protocol\":\"TCP\"}],\"variants\":[" variants "]}"
#define STATUS(services) "{\"services\":[" services "]}"

/* Bucket 40 begins at 1024 us, 60 at 33 ms. */
#define BLUE  VARIANT("blue", HTTP(990, 10, "[[40,1000]]"))
#define GREEN VARIANT("green", HTTP(900, 100, "[[40,400],[60,600]]"))
#define FRESH VARIANT("fresh", HTTP(12, 0, "[[40,12]]"))
#define PLAIN VARIANT("plain", "null")

static const char both[] = STATUS(SERVICE(80, BLUE "," GREEN "," FRESH "," PLAIN));

/* Runs a line against an agent that answers @status. Return: the exit code. */
static int compare(const char *status, const char *line, char **ret_out, char **ret_err)
{
	struct cli_lab lab = { 0 };
	int r;

	cli_lab_start(&lab, status);
	r = cli_run_line(&lab, line, ret_out, ret_err);
	cli_lab_stop(&lab);
	return r;
}

Test(cli_compare, a_table_and_a_sentence_on_each_measure)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;

	cr_assert_eq(compare(both, "compare shop/api blue green", &out, &err), 0, "%s", err);
	cr_expect_str_eq(
		out,
		"shop/api, plaintext HTTP since the counters began\n"
		"  VARIANT  REQUESTS  5XX  SUCCESS  95 %                P50  95 %                "
		"    P99  95 %\n"
		"  blue          990   10  99.00 %  98.17 to 99.46  1.12 ms  1.02 ms to 1.22 ms  "
		"1.12 ms  1.02 ms to 1.22 ms\n"
		"  green         900  100  90.00 %  87.98 to 91.71    36 ms  33 ms to 39 ms      "
		"  36 ms  33 ms to 39 ms\n"
		"\n"
		"  success rate  a real difference: green's is 9.00 points lower than blue's, with "
		"95 % confidence 7.10 to 11.07\n"
		"  p50           a real difference: blue takes 1.12 ms, green 36 ms, 32.0 times as "
		"long\n"
		"  p99           a real difference: blue takes 1.12 ms, green 36 ms, 32.0 times as "
		"long\n",
		"%s", out);
}

Test(cli_compare, too_few_and_no_difference_are_said)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	static const char same[] =
		STATUS(SERVICE(80, BLUE "," VARIANT("twin", HTTP(991, 9, "[[40,1000]]"))));

	cr_assert_eq(compare(both, "compare shop/api blue fresh", &out, &err), 0, "%s", err);
	cr_expect(strstr(out, "success rate  too few requests to tell: fresh has 12 of at least "
			      "100\n"),
		  "%s", out);
	cr_expect(strstr(out, "p99           too few requests to tell: fresh has 12 of at least "
			      "500\n"),
		  "%s", out);
	cr_expect(strstr(out, " or more"), "the p99 of 12 has no upper end: %s", out);
	free(out);
	free(err);
	cr_assert_eq(compare(same, "compare shop/api blue twin", &out, &err), 0, "%s", err);
	cr_expect(strstr(out, "success rate  no difference shown: twin's is something between "),
		  "%s", out);
	cr_expect(strstr(out, " points lower and "), "%s", out);
	cr_expect(strstr(out, "p50           no difference shown: the two intervals overlap\n"),
		  "%s", out);
}

#define TCP(ok, refused, times)                                                                    \
	"{\"established\":" #ok ",\"refused\":" #refused ",\"unanswered\":0,\"times\":" times "}"
#define OF_TCP(name, tcp) "{\"name\":\"" name "\",\"http\":null,\"tcp\":" tcp "}"

Test(cli_compare, where_no_http_is_looked_at_connections_are_compared)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	static const char status[] =
		STATUS(SERVICE(80, OF_TCP("blue", TCP(990, 10, "[[4,400]]")) "," OF_TCP(
					   "green", TCP(900, 100, "[[24,600]]"))));

	cr_assert_eq(compare(status, "compare shop/api blue green", &out, &err), 0, "%s", err);
	cr_expect(strstr(out, "shop/api, TCP connections since the counters began\n"
			      "  VARIANT  CONNECTIONS  FAILED  SUCCESS"),
		  "%s", out);
	cr_expect(strstr(out, "  blue            1000      10  99.00 %"), "%s", out);
	cr_expect(strstr(out, "success rate  a real difference: green's is 9.00 points lower"),
		  "%s", out);
	cr_expect(strstr(out, "p50           a real difference: blue takes"), "%s", out);
	cr_expect(strstr(out, "p99           too few connections to tell: blue has 400 of at least "
			      "500\n"),
		  "%s", out);
	free(out);
	free(err);
	cr_assert_eq(compare(status, "compare shop/api blue green -o json", &out, &err), 0);
	cr_expect(strstr(out, "\"of\": \"connections\""), "%s", out);
}

Test(cli_compare, connections_of_a_service_of_http_are_compared_if_asked_for)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	static const char status[] = STATUS(SERVICE(
		80,
		"{\"name\":\"blue\",\"http\":" HTTP(9, 1, "[]") ",\"tcp\":" TCP(
			5, 1,
			"[]") "},{\"name\":\"green\",\"http\":" HTTP(9, 1,
								     "[]") ",\"tcp\":" TCP(7, 0,
											   "[]") "}"));

	cr_assert_eq(compare(status, "compare shop/api blue green", &out, &err), 0, "%s", err);
	cr_expect(strstr(out, "shop/api, plaintext HTTP since"), "%s", out);
	free(out);
	free(err);
	cr_assert_eq(compare(status, "compare shop/api blue green --connections", &out, &err), 0);
	cr_expect(strstr(out, "shop/api, TCP connections since"), "%s", out);
	cr_expect(strstr(out, "  blue               6       1"), "%s", out);
}

Test(cli_compare, unknown_codes_are_told)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	static const char status[] = STATUS(SERVICE(
		80, BLUE "," VARIANT("h2", "{\"responses\":{\"unknown\":100,\"2xx\":300}}")));

	cr_assert_eq(compare(status, "compare shop/api blue h2", &out, &err), 0, "%s", err);
	cr_expect(strstr(out, "  25.0 % of h2's responses have a code that the kernel cannot tell"),
		  "%s", out);
}

Test(cli_compare, json_has_verdicts_and_intervals)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	json_auto_t *json = NULL;
	const json_t *fresh;

	cr_assert_eq(compare(both, "compare shop/api blue fresh -o json", &out, &err), 0, "%s",
		     err);
	json = json_loads(out, 0, NULL);
	cr_assert_not_null(json, "%s", out);
	cr_expect(json_is_null(json_object_get(json, "seconds")));
	cr_expect_str_eq(cli_str(json_object_get(json, "success_rate"), "verdict"), "too-few");
	cr_expect(json_is_null(json_object_get(json_object_get(json, "success_rate"), "better")));
	cr_expect_eq(cli_int(json_object_get(json, "p99"), "needed"), 500);
	fresh = json_array_get(json_object_get(json, "variants"), 1);
	cr_expect_str_eq(cli_str(fresh, "name"), "fresh");
	cr_expect(json_is_null(json_object_get(json_object_get(fresh, "p99_ms"), "high")));
	cr_expect_eq(
		json_number_value(json_object_get(json_object_get(fresh, "success_rate"), "value")),
		1.0);
}

Test(cli_compare, for_a_time_only_what_came_then_counts)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;

	/* The agent's numbers stand still. */
	cr_assert_eq(compare(both, "compare shop/api blue green --for 1s", &out, &err), 0, "%s",
		     err);
	cr_expect(strstr(out, "shop/api, plaintext HTTP of 1.0 s\n"), "%s", out);
	cr_expect(strstr(out, "too few requests to tell: green has 0 of at least 100"), "%s", out);
	cr_expect_str_eq(err, "measuring for 1 s\n");
}

Test(cli_compare, of_several_ports_one_is_meant)
{
	static const char status[] =
		STATUS(SERVICE(80, BLUE "," GREEN) "," SERVICE(81, BLUE "," GREEN) "," SERVICE(
			9000, VARIANT("blue", "null") "," VARIANT("green", "null")));
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;

	cr_expect_eq(compare(status, "compare shop/api blue green", &out, &err), SHUNT_CTL_USAGE);
	cr_expect(strstr(err, "several ports of service shop/api"), "%s", err);
	free(out);
	free(err);
	cr_expect_eq(compare(status, "compare shop/api blue green --port 81", &out, &err), 0);
	cr_expect(strstr(out, "shop/api:81, plaintext"), "%s", out);
}

Test(cli_compare, mistakes_are_told)
{
	static const struct {
		const char *line;
		int exit_code;
		const char *says;
	} cases[] = {
		{ "compare shop/api blue", SHUNT_CTL_USAGE, "compare" },
		{ "compare shop/api blue blue", SHUNT_CTL_USAGE, "not blue with itself" },
		{ "compare shop/api blue purple", SHUNT_CTL_NOT_FOUND,
		  "service shop/api has no variant purple; there are: blue, green, fresh, plain" },
		{ "compare shop/api blue plain", SHUNT_CTL_NOT_FOUND,
		  "nothing of service shop/api is counted that could be compared" },
		{ "compare shop/api blue green --port 82", SHUNT_CTL_NOT_FOUND, "has no port 82" },
		{ "compare shop/api blue green --port no", SHUNT_CTL_USAGE, "--port no: want" },
		{ "compare shop/api blue green --for 10ms", SHUNT_CTL_USAGE, "at least 1 s" },
		{ "compare shop/api blue green --for ever", SHUNT_CTL_USAGE, "--for ever: want" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		CLEANUP(freep) char *out = NULL;
		CLEANUP(freep) char *err = NULL;

		cr_expect_eq(compare(both, cases[i].line, &out, &err), cases[i].exit_code, "%s",
			     cases[i].line);
		cr_expect(strstr(err, cases[i].says), "%s: %s", cases[i].line, err);
	}
}
