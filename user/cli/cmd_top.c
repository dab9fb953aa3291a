// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/print.h"
#include "cli/top.h"

#define MIN_INTERVAL_MS 100
#define MAX_COUNT	1000000

/* One invocation: the last answer, the one before, and what is seen of them. */
struct top {
	struct cli *cli;
	json_t *before, *now;
	double before_s, now_s; /* monotonic */
	struct top_view view;
	char note[1100]; /* why there is no newer answer; "" */
	int interval_ms;
	long left; /* samples to show; LONG_MAX: no end */
};

static double clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Asks the agent. Return: 0, or an exit code, the sentence in top->note. */
static int sample(struct top *top)
{
	struct shunt_err err = { 0 };
	json_auto_t *args = json_pack("{s:b}", "times", true);
	json_t *status = NULL;
	int r, exit_code = 0;

	r = shunt_ctl_call(top->cli->socket, "status", args, top->cli->timeout_ms, &status,
			   &exit_code, &err);
	if (r < 0) {
		shunt_err_str(&err, top->note, sizeof(top->note));
		print_tame(top->note);
		return exit_code;
	}
	top->note[0] = '\0';
	json_decref(top->before);
	top->before = top->now;
	top->before_s = top->now_s;
	top->now = status;
	top->now_s = clock_s();
	return 0;
}

static int rows_of(const struct top *top, struct top_rows *ret_rows)
{
	return top_rows_make(top->before, top->now, top->now_s - top->before_s, &top->view,
			     ret_rows);
}

/* ---- without a terminal ---------------------------------------------------------------------- */

static void print_rows(const struct cli *cli, const json_t *status, const struct top_rows *rows)
{
	struct print_column columns[TOP_N_COLUMNS];
	struct print_grid grid = PRINT_GRID(columns);
	char buf[STATUS_LABEL_LEN], line[512];

	for (enum top_column c = 0; c < TOP_N_COLUMNS; c++)
		columns[c] = (struct print_column){ top_column_title(c), top_column_is_right(c) };
	for (size_t i = 0; i < rows->n; i++)
		for (enum top_column c = 0; c < TOP_N_COLUMNS; c++)
			print_cell(&grid, PRINT_PLAIN, "%s",
				   top_cell(&rows->row[i], c, buf, sizeof(buf)));
	top_headline(status, rows, line, sizeof(line));
	fprintf(cli->out, "%s\n", line);
	print_grid(cli, &grid, 0);
	fputc('\n', cli->out);
}

static int print_sample(const struct top *top)
{
	const struct cli *cli = top->cli;
	json_auto_t *line = NULL;
	struct top_rows rows;

	if (rows_of(top, &rows) < 0)
		return cli_fail(cli, SHUNT_CTL_INTERNAL, "out of memory");
	if (cli->is_json) {
		line = json_pack("{s:f, s:o}", "seconds", top->now_s - top->before_s, "variants",
				 top_rows_json(&rows));
		json_dumpf(line, cli->out, JSON_COMPACT | JSON_REAL_PRECISION(6));
		fputc('\n', cli->out);
	} else {
		print_rows(cli, top->now, &rows);
	}
	top_rows_free(&rows);
	return fflush(cli->out) ? SHUNT_CTL_INTERNAL : 0;
}

static void sleep_ms(int ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static int run_plain(struct top *top)
{
	int r = sample(top);

	while (!r && top->left-- > 0) {
		sleep_ms(top->interval_ms);
		r = sample(top);
		if (!r)
			r = print_sample(top);
	}
	return *top->note ? cli_fail(top->cli, r, "%s", top->note) : r;
}

/* ---- on a terminal --------------------------------------------------------------------------- */

/* Draws until it is time for another sample. Return: false when the user has enough. */
static bool show(struct top *top, struct top_screen *screen)
{
	double until = clock_s() + top->interval_ms / 1000.0;
	struct top_rows rows = { 0 };
	enum top_key key = TOP_KEY_VIEW;

	while (key != TOP_KEY_QUIT && key != TOP_KEY_SAMPLE) {
		double left = until - clock_s();

		if (left <= 0 && !screen->is_paused)
			break;
		if (key == TOP_KEY_VIEW) {
			top_rows_free(&rows);
			if (rows_of(top, &rows) < 0)
				break;
			top_screen_draw(screen, &top->view, top->now, &rows, top->note);
		}
		key = top_screen_key(screen, &top->view,
				     screen->is_paused ? 1000 : (int)(left * 1000) + 1);
	}
	top_rows_free(&rows);
	return key != TOP_KEY_QUIT;
}

static int run_screen(struct top *top)
{
	struct top_screen screen = { 0 };
	int r = sample(top);

	if (r)
		return cli_fail(top->cli, r, "%s", top->note);
	r = top_screen_begin(top->cli);
	if (r)
		return r;
	/* An agent that is restarted answers again soon: its last answer stays on the screen. */
	while (top->left-- > 0 && show(top, &screen))
		sample(top);
	top_screen_end();
	return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* "service, variant, ... or ready" */
static const char *column_names(char *buf, size_t size)
{
	size_t used = 0;

	for (enum top_column c = 0; c < TOP_N_COLUMNS && used < size; c++) {
		const char *before = !c ? "" : c + 1 < TOP_N_COLUMNS ? ", " : " or ";

		used += (size_t)snprintf(buf + used, size - used, "%s%s", before,
					 top_column_name(c));
	}
	return buf;
}

static int read_flags(struct top *top)
{
	const char *count = cli_flag(top->cli, "count"), *sort = cli_flag(top->cli, "sort");
	const char *filter = cli_flag(top->cli, "filter");
	char names[192];
	uint64_t n;
	int r = cli_flag_duration(top->cli, "interval", 1000, &top->interval_ms);

	if (r)
		return r;
	if (top->interval_ms < MIN_INTERVAL_MS)
		return cli_fail(top->cli, SHUNT_CTL_USAGE, "--interval: want at least %d ms",
				MIN_INTERVAL_MS);
	top->left = LONG_MAX;
	if (count) {
		if (shunt_number_parse(count, MAX_COUNT, &n) < 0 || !n)
			return cli_fail(top->cli, SHUNT_CTL_USAGE,
					"--count %s: want a number from 1 to %d", count, MAX_COUNT);
		top->left = (long)n;
	}
	if (sort) {
		top->view.sort = top_column_parse(sort);
		if (top->view.sort == TOP_N_COLUMNS)
			return cli_fail(top->cli, SHUNT_CTL_USAGE, "--sort %s: want %s", sort,
					column_names(names, sizeof(names)));
	}
	if (filter && strlen(filter) >= sizeof(top->view.filter))
		return cli_fail(top->cli, SHUNT_CTL_USAGE, "--filter: at most %zu letters",
				sizeof(top->view.filter) - 1);
	if (filter)
		strcpy(top->view.filter, filter);
	return 0;
}

static int run(struct cli *cli)
{
	struct top top = { .cli = cli, .view = { .sort = TOP_CONNECTIONS } };
	int fd = fileno(cli->out), r = read_flags(&top);

	if (r)
		return r;
	if (cli->is_json || cli_flag(cli, "plain") || fd < 0 || !isatty(fd) ||
	    !isatty(STDIN_FILENO))
		r = run_plain(&top);
	else
		r = run_screen(&top);
	json_decref(top.before);
	json_decref(top.now);
	return r;
}

static const struct cli_flag flags[] = {
	{ "interval", "TIME", "between two samples, 100ms or more (1s)", 0 },
	{ "count", "N", "end after so many", 'n' },
	{ "sort", "COLUMN",
	  "service, variant, weight, share, now, connections, active, rejects, requests, success, "
	  "p50, p99, in, out or ready (connections)",
	  0 },
	{ "filter", "TEXT", "only variants with this in their own or their service's name", 0 },
	{ "plain", NULL, "lines instead of a screen, also on a terminal", 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt top", "one screen, renewed every second; h tells of its keys" },
	{ "shunt top --filter shop/ --sort rejects", "what one namespace refuses" },
	{ "shunt top -n 1 -o json", "rates of one second, for programs" },
	{ 0 },
};

const struct cli_command cli_top = {
	.name = "top",
	.args = "",
	.summary = "watch what each variant gets, live",
	.text = "Shows for every variant its weight, the share that it should have (ASKED) and the "
		"one that "
		"it had of the new connections of the last interval (NOW), new connections and "
		"rejects a "
		"second, connections in being, bits a second from and to the clients, and its "
		"backends. Where plaintext HTTP is looked at, also requests a second, the share of "
		"the responses below 500 among those whose code is known (SUCCESS), and the time "
		"that half of the responses (P50) and 99 of 100 (P99) did not exceed, within a "
		"tenth, all of the last interval.\n\n"
		"On a terminal it is one screen with keys to sort, filter and scroll. Elsewhere, "
		"or with --plain, each sample is a table; with -o json it is one object a line.",
	.flags = flags,
	.examples = examples,
	.exits = CLI_EXIT_AGENT,
	.run = run,
};
