// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/print.h"
#include "cli/signals.h"
#include "cli/status.h"

/* The page of one service: `shunt status SERVICE`. */

#define MAX_ADDRESSES 8 /* of a NodePort in one line; JSON has all */

static void print_label(const struct cli *cli, const char *label)
{
	print_text(cli, PRINT_DIM, "  %-10s  ", label);
}

static bool is_node_port(const json_t *frontend)
{
	return json_is_true(json_object_get(frontend, "node_port"));
}

/* Is @frontend the same NodePort as @other, at whatever address? */
static bool same_node_port(const json_t *frontend, const json_t *other)
{
	return is_node_port(other) && cli_int(frontend, "port") == cli_int(other, "port") &&
	       !strcmp(cli_str(frontend, "protocol"), cli_str(other, "protocol"));
}

/*
 * "*:30080/TCP  NodePort of 80, at 192.0.2.4, fd00::4": one line for all addresses. Printed for
 * the first of them, that of index @at.
 */
static bool print_node_port(const struct cli *cli, const json_t *frontends, size_t at)
{
	const json_t *other, *frontend = json_array_get(frontends, at);
	size_t i, n = 0;

	json_array_foreach (frontends, i, other)
		if (i < at && same_node_port(frontend, other))
			return false;
	print_label(cli, at ? "" : "frontends");
	print_text(cli, PRINT_PLAIN, "*:%lld/%s  NodePort of %lld, at", cli_int(frontend, "port"),
		   cli_str(frontend, "protocol"), cli_int(frontend, "service_port"));
	json_array_foreach (frontends, i, other) {
		if (!same_node_port(frontend, other))
			continue;
		if (n++ < MAX_ADDRESSES)
			print_text(cli, PRINT_PLAIN, "%s %s", n > 1 ? "," : "",
				   cli_str(other, "address"));
	}
	if (n > MAX_ADDRESSES)
		print_text(cli, PRINT_PLAIN, " and %zu more", n - MAX_ADDRESSES);
	return true;
}

static void print_frontends(const struct cli *cli, const json_t *service)
{
	const json_t *frontend, *frontends = json_object_get(service, "frontends");
	size_t i;

	json_array_foreach (frontends, i, frontend) {
		const char *address = cli_str(frontend, "address");
		bool is_v6 = strchr(address, ':') != NULL;

		if (is_node_port(frontend)) {
			if (print_node_port(cli, frontends, i))
				fputc('\n', cli->out);
			continue;
		}
		print_label(cli, i ? "" : "frontends");
		print_text(cli, PRINT_PLAIN, "%s%s%s:%lld/%s", is_v6 ? "[" : "", address,
			   is_v6 ? "]" : "", cli_int(frontend, "port"),
			   cli_str(frontend, "protocol"));
		fputc('\n', cli->out);
	}
	if (!json_array_size(frontends)) {
		print_label(cli, "frontends");
		print_text(cli, PRINT_WARN, "none: nothing reaches this service");
		fputc('\n', cli->out);
	}
	print_label(cli, "");
	fputs(json_is_true(json_object_get(service, "owned")) ? "owned: nobody else serves them\n"
							      : "shared with the cluster's proxy\n",
	      cli->out);
}

static void print_affinity(const struct cli *cli, const json_t *service)
{
	const char *affinity = cli_str(service, "affinity");

	print_label(cli, "affinity");
	if (!strcmp(affinity, "connection"))
		affinity = "connection: each connection is chosen for by itself";
	else if (!strcmp(affinity, "hash"))
		affinity = "hash: a client's address decides and follows the weights";
	else if (!strcmp(affinity, "session"))
		affinity = "session: a client keeps its variant and backend";
	print_text(cli, PRINT_PLAIN, "%s", affinity);
	fputc('\n', cli->out);
}

/* What is measured, port by port: "80 plaintext HTTP, 443 opaque (TCP only)". */
static void print_signals(const struct cli *cli, const json_t *service)
{
	const json_t *port;
	bool is_first = true;
	size_t i;

	json_array_foreach (json_object_get(service, "ports"), i, port) {
		const char *signals = cli_str(port, "signals");

		if (!*signals)
			continue;
		if (is_first)
			print_label(cli, "signals");
		print_text(cli, PRINT_PLAIN, "%s%lld%s %s", is_first ? "" : ", ",
			   cli_int(port, "port"),
			   strcmp(cli_str(port, "protocol"), "UDP") ? "" : "/udp",
			   !strcmp(signals, "http")	? "plaintext HTTP"
			   : !strcmp(signals, "opaque") ? "opaque (TCP only)"
							: "off");
		is_first = false;
	}
	if (!is_first)
		fputc('\n', cli->out);
}

static void print_source(const struct cli *cli, const json_t *service)
{
	const json_t *source = json_object_get(service, "source");
	const char *file = cli_str(source, "file");

	print_label(cli, "source");
	print_text(cli, PRINT_PLAIN, "%s %s/%s", cli_str(source, "kind"),
		   cli_str(source, "namespace"), cli_str(source, "name"));
	if (*file)
		print_text(cli, PRINT_PLAIN, ", %s:%lld", file, cli_int(source, "line"));
	fputc('\n', cli->out);
}

/* "3 min ago" from an RFC 3339 stamp. @buf: 48 bytes. */
static const char *age(const char *when, char *buf)
{
	char duration[SHUNT_UNIT_STR_LEN];
	struct tm utc = { 0 };
	double seconds;

	if (!strptime(when, "%Y-%m-%dT%H:%M:%S", &utc))
		return when;
	seconds = difftime(time(NULL), timegm(&utc));
	if (seconds < 1)
		return "just now";
	snprintf(buf, 48, "%s ago", shunt_duration_str((uint64_t)seconds * 1000, duration));
	return buf;
}

static void print_override(const struct cli *cli, const json_t *service)
{
	const json_t *variant, *override = json_object_get(service, "override");
	char who[64], when[48];
	size_t i;

	if (!json_is_object(override))
		return;
	print_label(cli, "override");
	print_text(cli, PRINT_WARN, "%s by %s, %s", cli_str(override, "command"),
		   cli_who(cli_int(override, "who_uid"), who),
		   age(cli_str(override, "when"), when));
	if (*cli_str(override, "reason"))
		print_text(cli, PRINT_PLAIN, ": %s", cli_str(override, "reason"));
	fputc('\n', cli->out);

	print_label(cli, "");
	fputs("the manifest asks", cli->out);
	json_array_foreach (json_object_get(service, "variants"), i, variant)
		print_text(cli, PRINT_PLAIN, " %s=%lld", cli_str(variant, "name"),
			   cli_int(variant, "manifest_weight"));
	fputc('\n', cli->out);
}

static void print_conditions(const struct cli *cli, const json_t *service)
{
	const json_t *condition;
	size_t i;

	json_array_foreach (json_object_get(service, "conditions"), i, condition) {
		bool is_bad = status_condition_is_bad(condition);
		const char *message = cli_str(condition, "message");

		print_label(cli, i ? "" : "conditions");
		print_text(cli, is_bad ? PRINT_WARN : PRINT_PLAIN, "%s=%s",
			   cli_str(condition, "type"), cli_str(condition, "status"));
		if (is_bad)
			print_text(cli, PRINT_PLAIN, " %s%s%s", cli_str(condition, "reason"),
				   *message ? ": " : "", message);
		fputc('\n', cli->out);
	}
}

/* The measured share with the half width of its 95 % interval, if there is enough of it. */
static void measured_cell(struct print_grid *grid, const json_t *variant, double n)
{
	const json_t *measured = json_object_get(variant, "measured_share");
	double share = json_number_value(measured);
	char text[SHUNT_UNIT_STR_LEN];

	if (!json_is_number(measured))
		print_cell(grid, PRINT_DIM, "-");
	else if (n < 30)
		print_cell(grid, PRINT_PLAIN, "%s", shunt_share_str(share, text));
	else
		print_cell(grid, PRINT_PLAIN, "%s \u00b1 %.1f", shunt_share_str(share, text),
			   196 * sqrt(share * (1 - share) / n));
}

static void count_cell(struct print_grid *grid, const json_t *object, const char *key)
{
	char text[SHUNT_UNIT_STR_LEN];

	print_cell(grid, PRINT_PLAIN, "%s", shunt_count_str((uint64_t)cli_int(object, key), text));
}

static void bytes_cell(struct print_grid *grid, const json_t *object, const char *key)
{
	char text[SHUNT_UNIT_STR_LEN];

	print_cell(grid, PRINT_PLAIN, "%s", shunt_bytes_str((uint64_t)cli_int(object, key), text));
}

/* Why it gets nothing, if it is not for its weight. */
static const char *standing_word(const json_t *variant)
{
	if (json_is_true(json_object_get(variant, "drained")))
		return "drained";
	return json_is_true(json_object_get(variant, "tripped")) ? "tripped by its dead-man switch"
								 : "";
}

/* After a switch: what goes on where nothing new is sent. */
static void print_remaining(const struct cli *cli, const json_t *variants)
{
	char text[STATUS_REMAIN_LEN];
	const json_t *variant;
	size_t i;

	json_array_foreach (variants, i, variant) {
		if (!*status_remain(variant, text))
			continue;
		print_text(cli, PRINT_WARN,
			   "  %s on %s, whose share is 0: each keeps its variant until it ends",
			   text, cli_str(variant, "name"));
		fputc('\n', cli->out);
	}
}

static void print_variants(const struct cli *cli, const json_t *variants)
{
	static const struct print_column columns[] = {
		{ "VARIANT", false }, { "WEIGHT", true }, { "ASKED", true },
		{ "MEASURED", true }, { "ACTIVE", true }, { "TOTAL", true },
		{ "REJECTS", true },  { "IN", true },	  { "OUT", true },
		{ "REMARKS", false },
	};
	struct print_grid grid = PRINT_GRID(columns);
	char text[SHUNT_UNIT_STR_LEN];
	const json_t *variant;
	double n = 0;
	size_t i;

	json_array_foreach (variants, i, variant)
		n += (double)cli_int(variant, "new_connections");
	json_array_foreach (variants, i, variant) {
		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(variant, "name"));
		print_cell(&grid, PRINT_PLAIN, "%lld", cli_int(variant, "weight"));
		print_cell(&grid, PRINT_BOLD, "%s",
			   shunt_share_str(json_number_value(json_object_get(variant, "share")),
					   text));
		measured_cell(&grid, variant, n);
		count_cell(&grid, variant, "connections_active");
		count_cell(&grid, variant, "connections_total");
		count_cell(&grid, variant, "rejects");
		bytes_cell(&grid, variant, "bytes_in");
		bytes_cell(&grid, variant, "bytes_out");
		print_cell(&grid, PRINT_WARN, "%s", standing_word(variant));
	}
	print_grid(cli, &grid, 2);
	print_text(
		cli, PRINT_DIM,
		"  measured over the %s new connections that backends took since the weights last "
		"changed; refused ones are in REJECTS",
		shunt_count_str((uint64_t)n, text));
	fputc('\n', cli->out);
	print_remaining(cli, variants);
	fputc('\n', cli->out);
}

static void ms_cell(struct print_grid *grid, const json_t *http, const char *key)
{
	const json_t *ms = json_object_get(http, key);
	char text[SHUNT_UNIT_STR_LEN];

	if (json_is_number(ms))
		print_cell(grid, PRINT_PLAIN, "%s", cli_ms_str(json_number_value(ms), text));
	else
		print_cell(grid, PRINT_DIM, "-");
}

/* The share of the responses whose code could not be told. */
static void unknown_cell(struct print_grid *grid, const json_t *responses)
{
	double unknown = (double)cli_int(responses, "unknown"), all = 0;
	char text[SHUNT_UNIT_STR_LEN];
	const char *class;
	json_t *n;

	json_object_foreach ((json_t *)responses, class, n)
		all += (double)json_integer_value(n);
	print_cell(grid, PRINT_WARN, "%s", unknown > 0 ? shunt_share_str(unknown / all, text) : "");
}

static void add_http(struct print_grid *grid, const char *variant, const json_t *signals)
{
	const json_t *responses = json_object_get(signals, "responses");
	const json_t *rate = json_object_get(signals, "success_rate");
	char text[SHUNT_UNIT_STR_LEN];

	print_cell(grid, PRINT_PLAIN, "%s", variant);
	count_cell(grid, signals, "requests");
	print_cell(grid, PRINT_BOLD, "%s",
		   json_is_number(rate) ? shunt_share_str(json_number_value(rate), text) : "-");
	count_cell(grid, responses, "4xx");
	count_cell(grid, responses, "5xx");
	unknown_cell(grid, responses);
	ms_cell(grid, signals, "p50_ms");
	ms_cell(grid, signals, "p99_ms");
}

/* What was asked and answered lately, where plaintext HTTP is looked at. */
static void print_http(const struct cli *cli, const json_t *variants)
{
	static const struct print_column columns[] = {
		{ "VARIANT", false }, { "REQUESTS", true }, { "SUCCESS", true }, { "4XX", true },
		{ "5XX", true },      { "UNKNOWN", true },  { "P50", true },	 { "P99", true },
	};
	struct print_grid grid = PRINT_GRID(columns);
	const json_t *variant, *window;
	double seconds = 0;
	size_t i;

	json_array_foreach (variants, i, variant) {
		window = json_object_get(json_object_get(variant, "http"), "window");
		if (!json_is_object(window))
			continue;
		add_http(&grid, cli_str(variant, "name"), window);
		seconds = json_number_value(json_object_get(window, "seconds"));
	}
	if (!grid.n_cells)
		return;
	print_grid(cli, &grid, 2);
	print_text(
		cli, PRINT_DIM,
		"  plaintext HTTP of the last %.0f s; SUCCESS: below 500, of the responses whose "
		"code is known; -o json has the sums since the counters began",
		seconds);
	fputs("\n\n", cli->out);
}

static void add_tcp(struct print_grid *grid, const char *variant, const json_t *tcp)
{
	print_cell(grid, PRINT_PLAIN, "%s", variant);
	count_cell(grid, tcp, "established");
	count_cell(grid, tcp, "refused");
	count_cell(grid, tcp, "unanswered");
	count_cell(grid, tcp, "reset");
	count_cell(grid, tcp, "closed");
	ms_cell(grid, tcp, "connect_p50_ms");
	ms_cell(grid, tcp, "connect_p99_ms");
}

/* What became of TCP connections. */
static void print_tcp(const struct cli *cli, const json_t *variants)
{
	static const struct print_column columns[] = {
		{ "VARIANT", false },	 { "ESTABLISHED", true }, { "REFUSED", true },
		{ "UNANSWERED", true },	 { "RESET", true },	  { "CLOSED", true },
		{ "CONNECT P50", true }, { "P99", true },
	};
	struct print_grid grid = PRINT_GRID(columns);
	const json_t *variant, *tcp;
	size_t i;

	json_array_foreach (variants, i, variant) {
		tcp = json_object_get(variant, "tcp");
		if (json_is_object(tcp))
			add_tcp(&grid, cli_str(variant, "name"), tcp);
	}
	if (!grid.n_cells)
		return;
	print_grid(cli, &grid, 2);
	print_text(cli, PRINT_DIM,
		   "  TCP since the counters began; UNANSWERED: the client had to repeat its SYN; "
		   "RESET: by the backend, before its first byte; CONNECT: until it answered");
	fputs("\n\n", cli->out);
}

/* Empty where nothing is amiss, or nobody looks. */
static void trouble_cell(struct print_grid *grid, const json_t *tcp, const char *key)
{
	if (cli_int(tcp, key))
		count_cell(grid, tcp, key);
	else
		print_cell(grid, PRINT_PLAIN, "%s", "");
}

/* "ready", or "ejected for 12 s", which a backend may be besides. */
static void state_cell(struct print_grid *grid, const json_t *backend)
{
	const json_t *ejection = json_object_get(backend, "ejection");
	const char *state = cli_str(backend, "state");
	char left[SHUNT_UNIT_STR_LEN];

	if (strcmp(state, "ready") || !json_is_true(json_object_get(ejection, "ejected")))
		print_cell(grid, !strcmp(state, "ready") ? PRINT_GOOD : PRINT_WARN, "%s", state);
	else if (cli_int(ejection, "left_ms"))
		print_cell(grid, PRINT_BAD, "ejected for %s",
			   shunt_duration_str((uint64_t)cli_int(ejection, "left_ms"), left));
	else
		print_cell(grid, PRINT_WARN, "ejected, tried now");
}

static void add_backend(struct print_grid *grid, const json_t *variant, const json_t *backend)
{
	const json_t *tcp = json_object_get(backend, "tcp");
	const char *address = cli_str(backend, "address");
	bool is_v6 = strchr(address, ':') != NULL;

	print_cell(grid, PRINT_PLAIN, "%s%s%s:%lld", is_v6 ? "[" : "", address, is_v6 ? "]" : "",
		   cli_int(backend, "port"));
	print_cell(grid, PRINT_PLAIN, "%s", cli_str(variant, "name"));
	state_cell(grid, backend);
	count_cell(grid, backend, "connections_active");
	count_cell(grid, backend, "connections_total");
	trouble_cell(grid, tcp, "refused");
	trouble_cell(grid, tcp, "unanswered");
	trouble_cell(grid, tcp, "reset");
	trouble_cell(grid, json_object_get(backend, "ejection"), "times");
}

static void print_backends(const struct cli *cli, const json_t *variants)
{
	static const struct print_column columns[] = {
		{ "BACKEND", false },	{ "VARIANT", false }, { "STATE", false },
		{ "ACTIVE", true },	{ "TOTAL", true },    { "REFUSED", true },
		{ "UNANSWERED", true }, { "RESET", true },    { "EJECTED", true },
	};
	struct print_grid grid = PRINT_GRID(columns);
	const json_t *variant, *backend;
	size_t i, j;

	json_array_foreach (variants, i, variant) {
		json_array_foreach (json_object_get(variant, "backends"), j, backend)
			add_backend(&grid, variant, backend);
	}
	if (grid.n_cells)
		print_grid(cli, &grid, 2);
	else
		fputs("  no backends\n", cli->out);
}

/* The agent's own requests, which are in none of the other numbers. */
static void print_probes(const struct cli *cli, const json_t *variants)
{
	const json_t *variant, *probes;
	size_t i;

	json_array_foreach (variants, i, variant) {
		probes = json_object_get(variant, "probes");
		if (!probes)
			continue;
		print_text(cli, PRINT_PLAIN,
			   "  probes of %s: %lld answered, %lld with 5xx, %lld not at all",
			   cli_str(variant, "name"),
			   cli_int(probes, "1xx") + cli_int(probes, "2xx") +
				   cli_int(probes, "3xx") + cli_int(probes, "4xx"),
			   cli_int(probes, "5xx"), cli_int(probes, "none"));
		fputc('\n', cli->out);
	}
}

void status_print_service(const struct cli *cli, const char *label, const json_t *service)
{
	const json_t *variants = json_object_get(service, "variants");

	print_text(cli, PRINT_BOLD, "%s", label);
	fputc('\n', cli->out);
	print_frontends(cli, service);
	print_affinity(cli, service);
	print_signals(cli, service);
	print_source(cli, service);
	print_override(cli, service);
	status_print_policy(cli, json_object_get(service, "policy"));
	status_print_breakers(cli, service);
	print_conditions(cli, service);
	fputc('\n', cli->out);
	print_variants(cli, variants);
	print_probes(cli, variants);
	print_tcp(cli, variants);
	print_http(cli, variants);
	print_backends(cli, variants);
}
