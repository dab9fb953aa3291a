// SPDX-License-Identifier: Apache-2.0
#include "cli/top.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "cli/print.h"
#include "cli/signals.h"

static const struct {
	const char *name, *title;
	bool is_right;
} columns[TOP_N_COLUMNS] = {
	[TOP_SERVICE] = { "service", "SERVICE", false },
	[TOP_VARIANT] = { "variant", "VARIANT", false },
	[TOP_WEIGHT] = { "weight", "WEIGHT", true },
	[TOP_SHARE] = { "share", "ASKED", true },
	[TOP_NOW] = { "now", "NOW", true },
	[TOP_CONNECTIONS] = { "connections", "CONN/S", true },
	[TOP_ACTIVE] = { "active", "ACTIVE", true },
	[TOP_REJECTS] = { "rejects", "REJECTS/S", true },
	[TOP_REQUESTS] = { "requests", "REQ/S", true },
	[TOP_SUCCESS] = { "success", "SUCCESS", true },
	[TOP_P50] = { "p50", "P50", true },
	[TOP_P99] = { "p99", "P99", true },
	[TOP_IN] = { "in", "IN BIT/S", true },
	[TOP_OUT] = { "out", "OUT BIT/S", true },
	[TOP_READY] = { "ready", "READY", true },
};

const char *top_column_name(enum top_column column)
{
	return columns[column].name;
}

const char *top_column_title(enum top_column column)
{
	return columns[column].title;
}

bool top_column_is_right(enum top_column column)
{
	return columns[column].is_right;
}

enum top_column top_column_parse(const char *name)
{
	enum top_column column = 0;

	while (column < TOP_N_COLUMNS && strcmp(columns[column].name, name))
		column++;
	return column;
}

/* ---- making ---------------------------------------------------------------------------------- */

static const json_t *find_named(const json_t *array, const char *name)
{
	const json_t *item;
	size_t i;

	json_array_foreach (array, i, item)
		if (!strcmp(cli_str(item, "name"), name))
			return item;
	return NULL;
}

/* The variants of all services of a status, by "label variant". Return: a new reference, or NULL.
 */
static json_t *index_variants(const json_t *status)
{
	const json_t *services = json_object_get(status, "services"), *service;
	json_t *index = json_object();
	char label[STATUS_LABEL_LEN];
	size_t i;

	json_array_foreach (services, i, service)
		if (json_object_set(index, status_label(services, i, label),
				    json_object_get(service, "variants")))
			break;
	return index;
}

static double rate(const json_t *before, const json_t *now, const char *key, double seconds)
{
	long long grown = cli_int(now, key) - cli_int(before, key);

	return before && grown > 0 && seconds > 0 ? (double)grown / seconds : 0;
}

/* The plaintext HTTP of the interval, from what both answers have counted. */
static void fill_http(struct top_row *row, const json_t *before, const json_t *variant,
		      double seconds)
{
	const json_t *http = json_object_get(variant, "http");
	struct shunt_golden then, since = { 0 };

	row->is_http = json_is_object(http);
	if (before && row->is_http && seconds > 0) {
		then = cli_signals_read(json_object_get(before, "http"));
		since = cli_signals_read(http);
		since = shunt_golden_since(&since, &then);
		row->requests_s = (double)since.requests / seconds;
	}
	row->success = shunt_success_rate(since.responses);
	row->p50_ms = 1e3 * shunt_stats_quantile(since.times, 0.5);
	row->p99_ms = 1e3 * shunt_stats_quantile(since.times, 0.99);
}

static void fill(struct top_row *row, const json_t *before, const json_t *variant, double seconds)
{
	snprintf(row->variant, sizeof(row->variant), "%s", cli_str(variant, "name"));
	print_tame(row->variant);
	row->weight = cli_int(variant, "weight");
	row->share = json_number_value(json_object_get(variant, "share"));
	row->active = cli_int(variant, "connections_active");
	row->connections_s = rate(before, variant, "connections_total", seconds);
	row->rejects_s = rate(before, variant, "rejects", seconds);
	row->in_bit_s = 8 * rate(before, variant, "bytes_in", seconds);
	row->out_bit_s = 8 * rate(before, variant, "bytes_out", seconds);
	fill_http(row, before, variant, seconds);
	status_count_backends(variant, &row->ready, &row->backends);
}

static void add(struct top_row *total, const struct top_row *row)
{
	total->connections_s += row->connections_s;
	total->rejects_s += row->rejects_s;
	total->in_bit_s += row->in_bit_s;
	total->out_bit_s += row->out_bit_s;
	total->active += row->active;
}

static bool matches(const struct top_row *row, const char *filter)
{
	char text[STATUS_LABEL_LEN + sizeof(row->variant) + 1];

	snprintf(text, sizeof(text), "%s %s", row->service, row->variant);
	return strcasestr(text, filter);
}

/* One service's rows, behind those that are there. */
static void add_service(struct top_rows *rows, const char *label, const json_t *before,
			const json_t *variants, double seconds, const char *filter)
{
	struct top_row *first = &rows->row[rows->n], *row = first;
	const json_t *variant;
	double connections = 0;
	size_t i, kept = 0;

	json_array_foreach (variants, i, variant) {
		*row = (struct top_row){ 0 };
		snprintf(row->service, sizeof(row->service), "%s", label);
		fill(row, find_named(before, cli_str(variant, "name")), variant, seconds);
		connections += row->connections_s;
		row++;
	}
	for (row = first; row < first + i; row++) {
		row->now = connections > 0 ? row->connections_s / connections : -1;
		add(&rows->total, row);
		if (matches(row, filter))
			first[kept++] = *row;
	}
	rows->n += kept;
	rows->n_hidden += i - kept;
}

/* ---- sorting --------------------------------------------------------------------------------- */

static double number(const struct top_row *row, enum top_column column)
{
	switch (column) {
	case TOP_WEIGHT:
		return (double)row->weight;
	case TOP_SHARE:
		return row->share;
	case TOP_NOW:
		return row->now;
	case TOP_CONNECTIONS:
		return row->connections_s;
	case TOP_ACTIVE:
		return (double)row->active;
	case TOP_REJECTS:
		return row->rejects_s;
	case TOP_REQUESTS:
		return row->is_http ? row->requests_s : -1;
	case TOP_SUCCESS:
		return row->success;
	case TOP_P50:
		return row->p50_ms;
	case TOP_P99:
		return row->p99_ms;
	case TOP_IN:
		return row->in_bit_s;
	case TOP_OUT:
		return row->out_bit_s;
	default:
		return row->ready;
	}
}

static int by_name(const struct top_row *a, const struct top_row *b)
{
	int order = strcmp(a->service, b->service);

	return order ? order : strcmp(a->variant, b->variant);
}

static int compare(const void *a, const void *b, void *ctx)
{
	const struct top_row *left = a, *right = b;
	const struct top_view *view = ctx;
	double x, y;
	int order;

	if (view->sort == TOP_SERVICE) {
		order = by_name(left, right);
	} else if (view->sort == TOP_VARIANT) {
		order = strcmp(left->variant, right->variant);
	} else {
		x = number(left, view->sort);
		y = number(right, view->sort);
		order = x > y ? -1 : x < y;
	}
	if (view->is_reverse)
		order = -order;
	return order ? order : by_name(left, right);
}

int top_rows_make(const json_t *before, const json_t *now, double seconds,
		  const struct top_view *view, struct top_rows *ret_rows)
{
	const json_t *services = json_object_get(now, "services"), *service, *before_variants;
	json_auto_t *index = index_variants(before);
	struct top_rows rows = { 0 };
	char label[STATUS_LABEL_LEN];
	size_t i, n = 0;

	json_array_foreach (services, i, service)
		n += json_array_size(json_object_get(service, "variants"));
	rows.row = calloc(n ? n : 1, sizeof(*rows.row));
	if (!rows.row || !index) {
		free(rows.row);
		return -ENOMEM;
	}
	json_array_foreach (services, i, service) {
		before_variants = json_object_get(index, status_label(services, i, label));
		print_tame(label);
		add_service(&rows, label, before_variants, json_object_get(service, "variants"),
			    seconds, view->filter);
	}
	qsort_r(rows.row, rows.n, sizeof(*rows.row), compare, (void *)view);
	*ret_rows = rows;
	return 0;
}

void top_rows_free(struct top_rows *rows)
{
	free(rows->row);
	*rows = (struct top_rows){ 0 };
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* "0", "0.4", "12", "12.3 k". */
static const char *rate_str(double value, char *buf, size_t size)
{
	char text[SHUNT_UNIT_STR_LEN];

	if (value > 0 && value < 9.95)
		snprintf(buf, size, "%.1f", value);
	else
		snprintf(buf, size, "%s", shunt_count_str((uint64_t)(value + 0.5), text));
	return buf;
}

const char *top_cell(const struct top_row *row, enum top_column column, char *buf, size_t size)
{
	char text[SHUNT_UNIT_STR_LEN];

	switch (column) {
	case TOP_SERVICE:
		snprintf(buf, size, "%s", row->service);
		break;
	case TOP_VARIANT:
		snprintf(buf, size, "%s", row->variant);
		break;
	case TOP_WEIGHT:
		snprintf(buf, size, "%lld", row->weight);
		break;
	case TOP_SHARE:
		snprintf(buf, size, "%s", shunt_share_str(row->share, text));
		break;
	case TOP_NOW:
		snprintf(buf, size, "%s", row->now < 0 ? "-" : shunt_share_str(row->now, text));
		break;
	case TOP_ACTIVE:
		snprintf(buf, size, "%s", shunt_count_str((uint64_t)row->active, text));
		break;
	case TOP_SUCCESS:
		snprintf(buf, size, "%s",
			 row->success < 0 ? "-" : shunt_share_str(row->success, text));
		break;
	case TOP_P50:
	case TOP_P99:
		snprintf(buf, size, "%s",
			 number(row, column) < 0 ? "-" : cli_ms_str(number(row, column), text));
		break;
	case TOP_READY:
		snprintf(buf, size, "%d/%d", row->ready, row->backends);
		break;
	default:
		if (number(row, column) < 0)
			snprintf(buf, size, "-");
		else
			rate_str(number(row, column), buf, size);
	}
	return buf;
}

/* "0 bit/s", "12.3 kbit/s". */
static const char *bits_str(double value, char *buf, size_t size)
{
	char text[SHUNT_UNIT_STR_LEN];

	rate_str(value, text, sizeof(text));
	snprintf(buf, size, "%s%sbit/s", text, strchr(text, ' ') ? "" : " ");
	return buf;
}

void top_headline(const json_t *status, const struct top_rows *rows, char *buf, size_t size)
{
	const json_t *flows = json_object_get(status, "flows");
	char connections[SHUNT_UNIT_STR_LEN], rejects[SHUNT_UNIT_STR_LEN];
	char in[2 * SHUNT_UNIT_STR_LEN], out[2 * SHUNT_UNIT_STR_LEN];

	snprintf(buf, size,
		 "%s  generation %lld  %s connections/s  %s rejects/s  in %s  out %s  flows "
		 "%lld/%lld",
		 cli_str(status, "health"), cli_int(status, "generation"),
		 top_cell(&rows->total, TOP_CONNECTIONS, connections, sizeof(connections)),
		 top_cell(&rows->total, TOP_REJECTS, rejects, sizeof(rejects)),
		 bits_str(rows->total.in_bit_s, in, sizeof(in)),
		 bits_str(rows->total.out_bit_s, out, sizeof(out)), cli_int(flows, "used"),
		 cli_int(flows, "capacity"));
	print_tame(buf);
}

static json_t *or_null(double value)
{
	return value < 0 ? json_null() : json_real(value);
}

json_t *top_rows_json(const struct top_rows *rows)
{
	json_t *array = json_array();

	for (size_t i = 0; i < rows->n; i++) {
		const struct top_row *row = &rows->row[i];

		json_array_append_new(
			array,
			json_pack("{s:s, s:s, s:I, s:f, s:o, s:f, s:I, s:f, s:f, s:f, s:i, "
				  "s:i, s:o, s:o, s:o, s:o}",
				  "service", row->service, "variant", row->variant, "weight",
				  (json_int_t)row->weight, "share", row->share, "now",
				  or_null(row->now), "connections_per_s", row->connections_s,
				  "active", (json_int_t)row->active, "rejects_per_s",
				  row->rejects_s, "in_bit_per_s", row->in_bit_s, "out_bit_per_s",
				  row->out_bit_s, "ready", row->ready, "backends", row->backends,
				  "requests_per_s", or_null(row->is_http ? row->requests_s : -1),
				  "success_rate", or_null(row->success), "p50_ms",
				  or_null(row->p50_ms), "p99_ms", or_null(row->p99_ms)));
	}
	return array;
}
