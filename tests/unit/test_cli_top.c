// SPDX-License-Identifier: Apache-2.0
/* shunt top: rates from two answers, order, filter, and its lines without a terminal. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/top.h"
#include "cli_run_line.h"

TestSuite(cli_top, .timeout = 30);

#define VARIANT(name, weight, share, total, active, rejects, in, out)                              \
	"{\"name\":\"" name "\",\"weight\":" #weight ",\"share\":" #share                          \
	",\"connections_total\":" #total ",\"connections_active\":" #active                        \
	",\"rejects\":" #rejects ",\"bytes_in\":" #in ",\"bytes_out\":" #out                       \
	",\"backends\":[{\"state\":\"ready\"},{\"state\":\"not-ready\"}]}"
#define SERVICE(ns, name, variants)                                                                \
	"{\"namespace\":\"" ns "\",\"name\":\"" name "\",\"variants\":[" variants "]}"
#define STATUS(services)                                                                           \
	"{\"health\":\"ok\",\"generation\":14,\"flows\":{\"used\":5,\"capacity\":1024},"           \
	"\"services\":[" services "]}"

static const char before[] = STATUS(
	SERVICE("shop", "api",
		VARIANT("blue", 95, 0.95, 1000, 7, 0, 1000, 2000) "," VARIANT(
			"green", 5, 0.05, 100, 2, 4, 0,
			0)) "," SERVICE("shop", "web", VARIANT("v1", 1, 1.0, 500, 1, 0, 9, 9)));
static const char now[] = STATUS(SERVICE(
	"shop", "api",
	VARIANT("blue", 90, 0.90, 1150, 8, 0, 251000, 2502000) "," VARIANT(
		"green", 10, 0.1, 150, 3, 5, 500,
		0)) "," SERVICE("shop", "web",
				VARIANT("v1", 1, 1.0, 20, 1, 0, 3,
					3)) "," SERVICE("a", "new",
							VARIANT("only", 1, 1.0, 77, 0, 0, 0, 0)));

static struct top_rows rows_of(struct top_view view)
{
	json_auto_t *first = json_loads(before, 0, NULL), *second = json_loads(now, 0, NULL);
	struct top_rows rows;

	cr_assert(first && second);
	cr_assert_eq(top_rows_make(first, second, 2.0, &view, &rows), 0);
	return rows;
}

Test(cli_top, rates_are_what_grew_between_two_answers)
{
	struct top_rows rows = rows_of((struct top_view){ .sort = TOP_CONNECTIONS });
	const struct top_row *blue = &rows.row[0], *green = &rows.row[1];

	cr_assert_eq(rows.n, 4);
	cr_expect_str_eq(blue->service, "shop/api");
	cr_expect_str_eq(blue->variant, "blue");
	cr_expect_eq(blue->connections_s, 75.0);
	cr_expect_eq(green->connections_s, 25.0);
	cr_expect_eq(blue->now, 0.75);
	cr_expect_eq(green->now, 0.25);
	cr_expect_eq(green->rejects_s, 0.5);
	cr_expect_eq(blue->in_bit_s, 1e6);
	cr_expect_eq(blue->out_bit_s, 1e7);
	cr_expect_eq(blue->active, 8);
	cr_expect_eq(blue->ready, 1);
	cr_expect_eq(blue->backends, 2);
	cr_expect_eq(rows.total.connections_s, 100.0);
	cr_expect_eq(rows.total.active, 12);
	top_rows_free(&rows);
}

Test(cli_top, what_began_anew_or_is_new_has_no_rate)
{
	struct top_rows rows = rows_of((struct top_view){ .sort = TOP_SERVICE });

	cr_expect_str_eq(rows.row[0].service, "a/new");
	cr_expect_eq(rows.row[0].connections_s, 0.0, "all of its past is not this interval's");
	cr_expect_lt(rows.row[0].now, 0.0);
	cr_expect_str_eq(rows.row[3].service, "shop/web");
	cr_expect_eq(rows.row[3].connections_s, 0.0, "its counters began anew");
	top_rows_free(&rows);
}

/* The variants in the order of a view, as "blue green". */
static void assert_order(struct top_view view, const char *want)
{
	struct top_rows rows = rows_of(view);
	char got[128] = "";

	for (size_t i = 0; i < rows.n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "",
			 rows.row[i].variant);
	cr_expect_str_eq(got, want, "by %s: %s", top_column_name(view.sort), got);
	top_rows_free(&rows);
}

Test(cli_top, sorts_by_each_column_both_ways)
{
	static const char *const orders[TOP_N_COLUMNS] = {
		[TOP_SERVICE] = "only blue green v1",  [TOP_VARIANT] = "blue green only v1",
		[TOP_WEIGHT] = "blue green only v1",   [TOP_SHARE] = "only v1 blue green",
		[TOP_NOW] = "blue green only v1",      [TOP_CONNECTIONS] = "blue green only v1",
		[TOP_ACTIVE] = "blue green v1 only",   [TOP_REJECTS] = "green only blue v1",
		[TOP_REQUESTS] = "only blue green v1", [TOP_SUCCESS] = "only blue green v1",
		[TOP_P50] = "only blue green v1",      [TOP_P99] = "only blue green v1",
		[TOP_IN] = "blue green only v1",       [TOP_OUT] = "blue only green v1",
		[TOP_READY] = "only blue green v1",
	};

	for (enum top_column c = 0; c < TOP_N_COLUMNS; c++) {
		assert_order((struct top_view){ .sort = c }, orders[c]);
		cr_expect_eq(top_column_parse(top_column_name(c)), c);
	}
	assert_order((struct top_view){ .sort = TOP_CONNECTIONS, .is_reverse = true },
		     "only v1 green blue");
	assert_order((struct top_view){ .sort = TOP_SERVICE, .is_reverse = true },
		     "v1 green blue only");
	cr_expect_eq(top_column_parse("nothing"), TOP_N_COLUMNS);
}

Test(cli_top, a_filter_hides_rows_but_not_their_part_of_the_totals)
{
	struct top_view view = { .sort = TOP_SERVICE, .filter = "API G" };
	struct top_rows rows = rows_of(view);

	cr_assert_eq(rows.n, 1);
	cr_expect_str_eq(rows.row[0].variant, "green");
	cr_expect_eq(rows.row[0].now, 0.25, "of the whole service");
	cr_expect_eq(rows.n_hidden, 3);
	cr_expect_eq(rows.total.connections_s, 100.0);
	top_rows_free(&rows);
}

Test(cli_top, without_a_terminal_each_sample_is_a_table)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab = { 0 };

	cli_lab_start(&lab, now);
	cr_assert_eq(cli_run_line(&lab, "top -n 1 --interval 100ms --sort weight --filter shop",
				  &out, &err),
		     0, "%s", err);
	cr_expect_str_eq(
		out,
		"ok  generation 14  0 connections/s  0 rejects/s  in 0 bit/s  out 0 bit/s  "
		"flows 5/1024\n"
		"SERVICE   VARIANT  WEIGHT    ASKED  NOW  CONN/S  ACTIVE  REJECTS/S  REQ/S  SUCCESS"
		"  P50  P99  IN BIT/S  OUT BIT/S  READY\n"
		"shop/api  blue         90   90.0 %    -       0       8          0      -        -"
		"    -    -         0          0    1/2\n"
		"shop/api  green        10   10.0 %    -       0       3          0      -        -"
		"    -    -         0          0    1/2\n"
		"shop/web  v1            1  100.0 %    -       0       1          0      -        -"
		"    -    -         0          0    1/2\n\n",
		"%s", out);
	cr_expect_str_eq(lab.last_command, "status");
	cli_lab_stop(&lab);
}

Test(cli_top, json_is_one_object_a_line)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	struct cli_lab lab = { 0 };
	json_auto_t *line = NULL;
	const json_t *first;

	cli_lab_start(&lab, now);
	cr_assert_eq(cli_run_line(&lab, "top -n 2 --interval 100ms -o json", &out, &err), 0);
	cr_assert_not_null(strchr(out, '\n'));
	line = json_loadb(out, strcspn(out, "\n"), 0, NULL);
	cr_assert_not_null(line, "%s", out);
	cr_expect_geq(json_number_value(json_object_get(line, "seconds")), 0.1);
	first = json_array_get(json_object_get(line, "variants"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(first, "service")), "a/new");
	cr_expect(json_is_null(json_object_get(first, "now")));
	cr_expect(json_is_null(json_object_get(first, "success_rate")));
	cr_expect(json_is_true(json_object_get(lab.last_args, "times")));
	cr_expect_eq(json_integer_value(json_object_get(first, "backends")), 2);
	cr_expect_eq(strlen(out) - strcspn(out, "\n") - 1 > 2, 1, "the second line");
	cli_lab_stop(&lab);
}

#define HTTP(requests, ok, failed, unknown, times)                                                 \
	STATUS("{\"namespace\":\"shop\",\"name\":\"api\",\"variants\":[{\"name\":\"blue\","        \
	       "\"http\":{\"requests\":" #requests ",\"responses\":{\"unknown\":" #unknown         \
	       ",\"2xx\":" #ok ",\"5xx\":" #failed "},\"times\":" times "}}]}")

Test(cli_top, http_is_of_the_interval_not_of_all_time)
{
	/* Bucket 40 begins at 1024 us, 60 at 33 ms. */
	json_auto_t *first = json_loads(HTTP(1000, 0, 1000, 0, "[[60,1000]]"), 0, NULL);
	json_auto_t *second =
		json_loads(HTTP(1200, 150, 1010, 40, "[[40,190],[60,1010]]"), 0, NULL);
	struct top_view view = { .sort = TOP_REQUESTS };
	struct top_rows rows;
	char buf[64];

	cr_assert(first && second);
	cr_assert_eq(top_rows_make(first, second, 2.0, &view, &rows), 0);
	cr_expect_eq(rows.row[0].requests_s, 100.0);
	cr_expect_float_eq(rows.row[0].success, 150 / 160.0, 1e-12, "unknown is not known");
	cr_expect_str_eq(top_cell(&rows.row[0], TOP_SUCCESS, buf, sizeof(buf)), "93.8 %");
	cr_expect_str_eq(top_cell(&rows.row[0], TOP_P50, buf, sizeof(buf)), "1.12 ms");
	cr_expect_str_eq(top_cell(&rows.row[0], TOP_P99, buf, sizeof(buf)), "36 ms");
	top_rows_free(&rows);

	/* Nothing between: HTTP, but no answers. */
	cr_assert_eq(top_rows_make(second, second, 2.0, &view, &rows), 0);
	cr_expect_str_eq(top_cell(&rows.row[0], TOP_REQUESTS, buf, sizeof(buf)), "0");
	cr_expect_str_eq(top_cell(&rows.row[0], TOP_SUCCESS, buf, sizeof(buf)), "-");
	cr_expect_str_eq(top_cell(&rows.row[0], TOP_P99, buf, sizeof(buf)), "-");
	top_rows_free(&rows);

	/* The first sample has nothing before it. */
	cr_assert_eq(top_rows_make(NULL, second, 0, &view, &rows), 0);
	cr_expect_str_eq(top_cell(&rows.row[0], TOP_SUCCESS, buf, sizeof(buf)), "-");
	top_rows_free(&rows);
}

Test(cli_top, help_and_mistakes_name_all_columns)
{
	const struct cli_flag *flag = cli_top.flags;
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	char names[256] = "";

	for (enum top_column c = 0; c < TOP_N_COLUMNS; c++) {
		strcat(names, !c ? "" : c + 1 < TOP_N_COLUMNS ? ", " : " or ");
		strcat(names, top_column_name(c));
	}
	while (flag->name && strcmp(flag->name, "sort"))
		flag++;
	cr_assert_not_null(flag->name);
	cr_expect(!strncmp(flag->help, names, strlen(names)), "%s", flag->help);
	cli_run_line(NULL, "top --sort weigth", &out, &err);
	cr_expect_not_null(strstr(err, names), "%s", err);
}

Test(cli_top, mistakes_are_told)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "top --sort weigth", "--sort weigth: want service, variant, weight" },
		{ "top --count 0", "--count 0: want a number from 1 to 1000000" },
		{ "top --interval 10ms", "--interval: want at least 100 ms" },
		{ "top --interval soon", "--interval soon: want a time" },
		{ "top --filter "
		  "0123456789012345678901234567890123456789012345678901234567890123456789",
		  "--filter: at most 63 letters" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(freep) char *out = NULL;
		CLEANUP(freep) char *err = NULL;

		cr_expect_eq(cli_run_line(NULL, cases[i].line, &out, &err), SHUNT_CTL_USAGE);
		cr_expect_not_null(strstr(err, cases[i].says), "%s: %s", cases[i].line, err);
	}
}

Test(cli_top, an_agent_that_does_not_answer_is_an_error)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;

	cr_expect_eq(cli_run_line(NULL, "--socket /nowhere/shunt.sock top -n 1", &out, &err),
		     SHUNT_CTL_UNAVAILABLE);
	cr_expect_not_null(strstr(err, "/nowhere/shunt.sock"), "%s", err);
}
