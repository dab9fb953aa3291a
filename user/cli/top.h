/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_TOP_H
#define SHUNT_CLI_TOP_H

#include "base/units.h"
#include "cli/cli.h"
#include "cli/status.h"

/*
 * `shunt top`: what happens per variant between two answers to `status`. top_rows.c makes the
 * rows, top_screen.c draws them on a terminal, cmd_top.c asks and waits.
 */

enum top_column {
	TOP_SERVICE,
	TOP_VARIANT,
	TOP_WEIGHT,
	TOP_SHARE, /* asked */
	TOP_NOW,   /* of the service's new connections in this interval */
	TOP_CONNECTIONS,
	TOP_ACTIVE,
	TOP_REJECTS,
	TOP_REQUESTS,
	TOP_SUCCESS,
	TOP_P50,
	TOP_P99,
	TOP_IN,
	TOP_OUT,
	TOP_READY,
	TOP_N_COLUMNS
};

/* What a column is called: for --sort, and as its title. */
const char *top_column_name(enum top_column column);
const char *top_column_title(enum top_column column);
bool top_column_is_right(enum top_column column);

/* The column of that name. Return: TOP_N_COLUMNS if there is none. */
enum top_column top_column_parse(const char *name);

struct top_row {
	char service[STATUS_LABEL_LEN];
	char variant[64];
	long long weight;
	double share;
	double now; /* 0..1; negative: no new connection in the interval */
	double connections_s, rejects_s;
	double in_bit_s, out_bit_s;
	bool is_http; /* its plaintext HTTP is looked at */
	double requests_s;
	double success;	       /* 0..1 of the interval's responses; negative: none */
	double p50_ms, p99_ms; /* likewise */
	long long active;
	int ready, backends;
};

struct top_rows {
	struct top_row *row;
	size_t n;
	size_t n_hidden;      /* that the filter keeps out */
	struct top_row total; /* of all, those too */
};

struct top_view {
	enum top_column sort;
	bool is_reverse;
	char filter[64]; /* part of "service variant", letters of either case; "": all */
};

/**
 * top_rows_make - the rows of one interval
 * @before: an earlier answer to `status`; NULL: all rates are 0
 * @now:    the later one
 * @seconds: between them
 *
 * Sorted as @view says: numbers from the largest, names from the first, and rows that are alike by
 * name. What has restarted its counters in between has the rate 0.
 *
 * Return: 0 with *@rows to be freed by top_rows_free(), or -ENOMEM.
 */
int top_rows_make(const json_t *before, const json_t *now, double seconds,
		  const struct top_view *view, struct top_rows *ret_rows);
void top_rows_free(struct top_rows *rows);

/* A cell's text; ready/backends and the like included. @buf: SHUNT_UNIT_STR_LEN or longer. */
const char *top_cell(const struct top_row *row, enum top_column column, char *buf, size_t size);

/* The line of totals and of the agent. */
void top_headline(const json_t *status, const struct top_rows *rows, char *buf, size_t size);

/* Rows as JSON, for -o json. Return: a new reference. */
json_t *top_rows_json(const struct top_rows *rows);

/* ---- the terminal ---------------------------------------------------------------------------- */

enum top_key { TOP_KEY_NONE, TOP_KEY_SAMPLE, TOP_KEY_VIEW, TOP_KEY_QUIT };

struct top_screen {
	size_t first; /* row at the top */
	bool is_paused, is_help;
	bool is_typing; /* the filter */
	char typed[64];
};

/* Takes the terminal. Return: 0, or an exit code with a sentence on stderr. */
int top_screen_begin(const struct cli *cli);
void top_screen_end(void);

/* @note: what is wrong right now, or "". */
void top_screen_draw(struct top_screen *screen, const struct top_view *view, const json_t *status,
		     const struct top_rows *rows, const char *note);

/* Waits at most @wait_ms for a key, and does what it says. */
enum top_key top_screen_key(struct top_screen *screen, struct top_view *view, int wait_ms);

#endif
