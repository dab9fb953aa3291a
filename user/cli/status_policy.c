// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/units.h"
#include "cli/print.h"
#include "cli/status.h"

/* What a service lets in, in `shunt status SERVICE`: a line for each part. */

#define MAX_SHOWN 4 /* addresses of a list; JSON has all */

/* The first line of the section has its label. */
struct lines {
	const struct cli *cli;
	bool has_label;
};

static void begin(struct lines *lines)
{
	print_text(lines->cli, PRINT_DIM, "  %-10s  ", lines->has_label ? "" : "policy");
	lines->has_label = true;
}

/* Whether it holds, and who says so. */
static void end(const struct lines *lines, const json_t *part)
{
	const json_t *source = json_object_get(part, "source");

	if (!json_is_true(json_object_get(part, "enforced")))
		print_text(lines->cli, PRINT_WARN, ", NOT ENFORCED by this version");
	print_text(lines->cli, PRINT_DIM, " (%s %s/%s)", cli_str(source, "kind"),
		   cli_str(source, "namespace"), cli_str(source, "name"));
	fputc('\n', lines->cli->out);
}

static const char *time_of(const json_t *part, const char *key, char *buf)
{
	return shunt_duration_str((uint64_t)cli_int(part, key), buf);
}

/* " for each client (/32, /64) of green, else reject" */
static void print_whom(const struct cli *cli, const json_t *limit)
{
	const json_t *prefix = json_object_get(limit, "client_prefix");
	const char *scope = cli_str(limit, "scope"), *variant = cli_str(limit, "variant");

	if (!strcmp(scope, "variant") && *variant)
		print_text(cli, PRINT_PLAIN, " to %s", variant);
	else if (strcmp(scope, "service"))
		print_text(cli, PRINT_PLAIN, " for each %s", scope);
	if (prefix)
		print_text(cli, PRINT_PLAIN, " (/%lld, /%lld)", cli_int(prefix, "ipv4"),
			   cli_int(prefix, "ipv6"));
	if (strcmp(scope, "variant") && *variant)
		print_text(cli, PRINT_PLAIN, " of %s", variant);
}

static void print_limits(struct lines *lines, const json_t *limits)
{
	const json_t *limit;
	size_t i;

	json_array_foreach (limits, i, limit) {
		long long period = cli_int(limit, "period_ms");
		char text[SHUNT_UNIT_STR_LEN];

		begin(lines);
		print_text(lines->cli, PRINT_PLAIN, "at most %lld %s ", cli_int(limit, "average"),
			   cli_str(limit, "unit"));
		print_text(lines->cli, PRINT_PLAIN, "%s%s", period == 1000 ? "a " : "in ",
			   period == 1000 ? "second" : shunt_duration_str(period, text));
		print_whom(lines->cli, limit);
		print_text(lines->cli, PRINT_PLAIN, ", burst %lld, else %s",
			   cli_int(limit, "burst"), cli_str(limit, "answer"));
		end(lines, limit);
	}
}

static void print_in_flight(struct lines *lines, const json_t *limits)
{
	const json_t *limit;
	size_t i;

	json_array_foreach (limits, i, limit) {
		begin(lines);
		print_text(lines->cli, PRINT_PLAIN, "at most %lld %s at once",
			   cli_int(limit, "max"), cli_str(limit, "unit"));
		print_whom(lines->cli, limit);
		print_text(lines->cli, PRINT_PLAIN, ", else %s", cli_str(limit, "answer"));
		end(lines, limit);
	}
}

/* "from 10.0.0.0/8, fd00::/8 and 3 more" */
static void print_list(const struct cli *cli, const char *what, const json_t *list)
{
	const json_t *item;
	size_t i, n = json_array_size(list);

	if (!n)
		return;
	print_text(cli, PRINT_PLAIN, "%s", what);
	json_array_foreach (list, i, item)
		if (i < MAX_SHOWN)
			print_text(cli, PRINT_PLAIN, "%s %s", i ? "," : "",
				   json_string_value(item));
	if (n > MAX_SHOWN)
		print_text(cli, PRINT_PLAIN, " and %zu more", n - MAX_SHOWN);
}

static void print_sources(struct lines *lines, const json_t *policy)
{
	const json_t *sources = json_object_get(policy, "sources");
	const json_t *balancer = json_object_get(policy, "load_balancer_sources");
	const json_t *allow = json_object_get(sources, "allow");

	if (json_is_object(sources)) {
		begin(lines);
		print_list(lines->cli, "clients of", allow);
		print_list(lines->cli, json_array_size(allow) ? ", but not of" : "no clients of",
			   json_object_get(sources, "deny"));
		end(lines, sources);
	}
	if (json_array_size(balancer)) {
		begin(lines);
		print_list(lines->cli, "at the load balancer's addresses clients of", balancer);
		fputc('\n', lines->cli->out);
	}
}

static void print_breaker(struct lines *lines, const json_t *breaker)
{
	char open[SHUNT_UNIT_STR_LEN], recovery[SHUNT_UNIT_STR_LEN];
	const char *fallback = cli_str(breaker, "fallback");

	if (!json_is_object(breaker))
		return;
	begin(lines);
	print_text(lines->cli, PRINT_PLAIN, "breaker of %s%s: %s",
		   strcmp(cli_str(breaker, "scope"), "service") ? "each " : "the ",
		   cli_str(breaker, "scope"), cli_str(breaker, "expression"));
	fputc('\n', lines->cli->out);
	begin(lines);
	print_text(lines->cli, PRINT_PLAIN,
		   "  from %lld requests on; answers %lld%s%s for %s, recovers in %s",
		   cli_int(breaker, "min_requests"), cli_int(breaker, "response_code"),
		   *fallback ? " or leads to " : "", fallback,
		   time_of(breaker, "fallback_ms", open),
		   time_of(breaker, "recovery_ms", recovery));
	end(lines, breaker);
}

static void print_ejection(struct lines *lines, const json_t *ejection)
{
	char base[SHUNT_UNIT_STR_LEN];

	if (!json_is_object(ejection))
		return;
	begin(lines);
	print_text(lines->cli, PRINT_PLAIN,
		   "backends are out for %s after %lld errors in a row, up to %lld %% of them",
		   time_of(ejection, "base_ejection_ms", base),
		   cli_int(ejection, "consecutive_5xx_errors"),
		   cli_int(ejection, "max_ejection_percent"));
	end(lines, ejection);
}

static void print_dead_man(struct lines *lines, const json_t *dead_man)
{
	char window[SHUNT_UNIT_STR_LEN];

	if (!json_is_object(dead_man))
		return;
	begin(lines);
	print_text(lines->cli, PRINT_PLAIN,
		   "dead-man switch: %s fails at most %.2f %% more than %s, %lld samples in %s",
		   cli_str(dead_man, "canary"),
		   (double)cli_int(dead_man, "margin_basis_points") / 100,
		   cli_str(dead_man, "stable"), cli_int(dead_man, "min_samples"),
		   time_of(dead_man, "window_ms", window));
	end(lines, dead_man);
}

static void print_probe(struct lines *lines, const json_t *probe)
{
	char interval[SHUNT_UNIT_STR_LEN], timeout[SHUNT_UNIT_STR_LEN];

	if (!json_is_object(probe))
		return;
	begin(lines);
	print_text(lines->cli, PRINT_PLAIN, "each backend is asked for %s every %s, for %s at most",
		   cli_str(probe, "path"), time_of(probe, "interval_ms", interval),
		   time_of(probe, "timeout_ms", timeout));
	end(lines, probe);
}

void status_print_policy(const struct cli *cli, const json_t *policy)
{
	const json_t *age = json_object_get(policy, "connection_age");
	const json_t *signals = json_object_get(policy, "signals");
	struct lines lines = { .cli = cli };
	char text[SHUNT_UNIT_STR_LEN];

	if (!json_is_object(policy))
		return;
	print_limits(&lines, json_object_get(policy, "rate_limits"));
	print_in_flight(&lines, json_object_get(policy, "in_flight"));
	print_sources(&lines, policy);
	print_breaker(&lines, json_object_get(policy, "circuit_breaker"));
	print_ejection(&lines, json_object_get(policy, "outlier_detection"));
	print_dead_man(&lines, json_object_get(policy, "dead_man"));
	print_probe(&lines, json_object_get(policy, "probe"));
	if (json_is_object(age)) {
		begin(&lines);
		print_text(cli, PRINT_PLAIN, "connections end after %s",
			   time_of(age, "max_ms", text));
		end(&lines, age);
	}
	if (json_is_object(signals)) {
		begin(&lines);
		print_text(cli, PRINT_PLAIN, "signals: %s", cli_str(signals, "mode"));
		end(&lines, signals);
	}
}
