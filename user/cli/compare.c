// SPDX-License-Identifier: Apache-2.0
#include "cli/compare.h"

#include <math.h>

#include "base/cleanup.h"
#include "cli/print.h"
#include "cli/signals.h"

#define SENTENCE_LEN 512

/* ---- sentences ------------------------------------------------------------------------------- */

static void say_too_few(const struct cli_comparison *c, const struct shunt_compared *compared,
			char *buf)
{
	int v = compared->n[0] < compared->n[1] ? 0 : 1;

	snprintf(buf, SENTENCE_LEN, "too few %s to tell: %s has %llu of at least %llu",
		 c->is_connections ? "connections" : "requests", c->variant[v],
		 (unsigned long long)compared->n[v], (unsigned long long)compared->needed);
}

/* "0.40 points lower", "0.60 points higher", of the second against the first. */
static const char *points(double difference, char buf[48])
{
	snprintf(buf, 48, "%.2f points %s", 100 * fabs(difference),
		 difference < 0 ? "lower" : "higher");
	return buf;
}

static void say_success(const struct cli_comparison *c, char *buf)
{
	const struct shunt_compared *success = &c->result.success;
	struct shunt_interval range = c->result.success_difference;
	double difference = success->value[1] - success->value[0];
	char low[48], high[48];

	if (success->verdict == SHUNT_VERDICT_TOO_FEW)
		say_too_few(c, success, buf);
	else if (success->verdict == SHUNT_VERDICT_DIFFERENT)
		snprintf(buf, SENTENCE_LEN,
			 "a real difference: %s's is %s than %s's, with 95 %% confidence %.2f to "
			 "%.2f",
			 c->variant[1], points(difference, low), c->variant[0],
			 100 * fmin(fabs(range.low), fabs(range.high)),
			 100 * fmax(fabs(range.low), fabs(range.high)));
	else
		snprintf(buf, SENTENCE_LEN,
			 "no difference shown: %s's is something between %s and %s than %s's",
			 c->variant[1], points(range.low, low), points(range.high, high),
			 c->variant[0]);
}

static void say_quantile(const struct cli_comparison *c, const struct shunt_compared *quantile,
			 char *buf)
{
	char fast[SHUNT_UNIT_STR_LEN], slow[SHUNT_UNIT_STR_LEN];
	int better = quantile->better;

	if (quantile->verdict == SHUNT_VERDICT_TOO_FEW)
		say_too_few(c, quantile, buf);
	else if (quantile->verdict == SHUNT_VERDICT_DIFFERENT)
		snprintf(buf, SENTENCE_LEN,
			 "a real difference: %s takes %s, %s %s, %.1f times as long",
			 c->variant[better], cli_ms_str(1e3 * quantile->value[better], fast),
			 c->variant[!better], cli_ms_str(1e3 * quantile->value[!better], slow),
			 quantile->value[!better] / quantile->value[better]);
	else
		snprintf(buf, SENTENCE_LEN, "no difference shown: the two intervals overlap");
}

/* Return: is there something to say? */
static bool say_unknown(const struct cli_comparison *c, int v, char *buf)
{
	char share[SHUNT_UNIT_STR_LEN];

	if (!c->result.unknown[v])
		return false;
	snprintf(buf, SENTENCE_LEN,
		 "%s of %s's responses have a code that the kernel cannot tell: they are in no "
		 "success rate",
		 shunt_share_str((double)c->result.unknown[v] / (double)c->result.responses[v],
				 share),
		 c->variant[v]);
	return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void share_cells(struct print_grid *grid, const struct shunt_compared *compared, int v)
{
	if (compared->value[v] < 0) {
		print_cell(grid, PRINT_DIM, "-");
		print_cell(grid, PRINT_DIM, "%s", "");
		return;
	}
	print_cell(grid, PRINT_BOLD, "%.2f %%", 100 * compared->value[v]);
	print_cell(grid, PRINT_DIM, "%.2f to %.2f", 100 * compared->range[v].low,
		   100 * compared->range[v].high);
}

static void time_cells(struct print_grid *grid, const struct shunt_compared *compared, int v)
{
	char low[SHUNT_UNIT_STR_LEN], high[SHUNT_UNIT_STR_LEN];

	if (compared->value[v] < 0) {
		print_cell(grid, PRINT_DIM, "-");
		print_cell(grid, PRINT_DIM, "%s", "");
		return;
	}
	print_cell(grid, PRINT_BOLD, "%s", cli_ms_str(1e3 * compared->value[v], low));
	if (isinf(compared->range[v].high))
		print_cell(grid, PRINT_DIM, "%s or more",
			   cli_ms_str(1e3 * compared->range[v].low, low));
	else
		print_cell(grid, PRINT_DIM, "%s to %s",
			   cli_ms_str(1e3 * compared->range[v].low, low),
			   cli_ms_str(1e3 * compared->range[v].high, high));
}

static void print_table(const struct cli *cli, const struct cli_comparison *c)
{
	struct print_column columns[] = {
		{ "VARIANT", false },
		{ c->is_connections ? "CONNECTIONS" : "REQUESTS", true },
		{ c->is_connections ? "FAILED" : "5XX", true },
		{ "SUCCESS", true },
		{ "95 %", false },
		{ "P50", true },
		{ "95 %", false },
		{ "P99", true },
		{ "95 %", false },
	};
	struct print_grid grid = PRINT_GRID(columns);
	char text[SHUNT_UNIT_STR_LEN];

	for (int v = 0; v < 2; v++) {
		print_cell(&grid, PRINT_PLAIN, "%s", c->variant[v]);
		print_cell(&grid, PRINT_PLAIN, "%s", shunt_count_str(c->golden[v].requests, text));
		print_cell(&grid, PRINT_PLAIN, "%s",
			   shunt_count_str(c->golden[v].responses[5], text));
		share_cells(&grid, &c->result.success, v);
		time_cells(&grid, &c->result.p50, v);
		time_cells(&grid, &c->result.p99, v);
	}
	print_grid(cli, &grid, 2);
}

static void print_sentence(const struct cli *cli, const char *measure,
			   const struct shunt_compared *compared, const char *sentence)
{
	print_text(cli, PRINT_DIM, "  %-14s", measure);
	print_text(cli, compared->verdict == SHUNT_VERDICT_DIFFERENT ? PRINT_WARN : PRINT_PLAIN,
		   "%s", sentence);
	fputc('\n', cli->out);
}

void compare_print(const struct cli *cli, const struct cli_comparison *c)
{
	const char *what = c->is_connections ? "TCP connections" : "plaintext HTTP";
	char sentence[SENTENCE_LEN];

	print_text(cli, PRINT_BOLD, "%s", c->service);
	if (c->seconds > 0)
		print_text(cli, PRINT_PLAIN, ", %s of %.1f s", what, c->seconds);
	else
		print_text(cli, PRINT_PLAIN, ", %s since the counters began", what);
	fputc('\n', cli->out);
	print_table(cli, c);
	fputc('\n', cli->out);
	say_success(c, sentence);
	print_sentence(cli, "success rate", &c->result.success, sentence);
	say_quantile(c, &c->result.p50, sentence);
	print_sentence(cli, "p50", &c->result.p50, sentence);
	say_quantile(c, &c->result.p99, sentence);
	print_sentence(cli, "p99", &c->result.p99, sentence);
	for (int v = 0; v < 2; v++)
		if (say_unknown(c, v, sentence)) {
			print_text(cli, PRINT_WARN, "  %s", sentence);
			fputc('\n', cli->out);
		}
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *value_json(const struct shunt_compared *compared, int v, double unit)
{
	if (compared->value[v] < 0)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "value", number(compared->value[v] * unit), "low",
			 number(compared->range[v].low * unit), "high",
			 number(compared->range[v].high * unit));
}

static json_t *variant_json(const struct cli_comparison *c, int v)
{
	return json_pack(
		"{s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "name", c->variant[v], "requests",
		(json_int_t)c->golden[v].requests, "responses", (json_int_t)c->result.responses[v],
		"unknown", (json_int_t)c->result.unknown[v], "success_rate",
		value_json(&c->result.success, v, 1), "p50_ms", value_json(&c->result.p50, v, 1e3),
		"p99_ms", value_json(&c->result.p99, v, 1e3));
}

static json_t *verdict_json(const struct cli_comparison *c, const struct shunt_compared *compared,
			    const char *sentence)
{
	static const char *const names[] = {
		[SHUNT_VERDICT_TOO_FEW] = "too-few",
		[SHUNT_VERDICT_NO_DIFFERENCE] = "no-difference-shown",
		[SHUNT_VERDICT_DIFFERENT] = "different",
	};
	bool differ = compared->verdict == SHUNT_VERDICT_DIFFERENT;

	return json_pack("{s:s, s:o, s:I, s:s}", "verdict", names[compared->verdict], "better",
			 differ ? json_string(c->variant[compared->better]) : json_null(), "needed",
			 (json_int_t)compared->needed, "text", sentence);
}

json_t *compare_json(const struct cli_comparison *c)
{
	char success[SENTENCE_LEN], p50[SENTENCE_LEN], p99[SENTENCE_LEN];
	struct shunt_interval range = c->result.success_difference;

	say_success(c, success);
	say_quantile(c, &c->result.p50, p50);
	say_quantile(c, &c->result.p99, p99);
	return json_pack("{s:s, s:s, s:o, s:[o, o], s:{s:f, s:f}, s:o, s:o, s:o}", "service",
			 c->service, "of", c->is_connections ? "connections" : "requests",
			 "seconds", c->seconds > 0 ? json_real(c->seconds) : json_null(),
			 "variants", variant_json(c, 0), variant_json(c, 1), "success_difference",
			 "low", range.low, "high", range.high, "success_rate",
			 verdict_json(c, &c->result.success, success), "p50",
			 verdict_json(c, &c->result.p50, p50), "p99",
			 verdict_json(c, &c->result.p99, p99));
}
