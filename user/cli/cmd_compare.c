// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/compare.h"
#include "cli/print.h"
#include "cli/signals.h"
#include "cli/status.h"

/* One look at both variants. */
struct sample {
	json_t *status; /* owned */
	double at_s;	/* monotonic */
	char label[STATUS_LABEL_LEN];
	bool is_connections;
	struct shunt_golden golden[2];
};

static double clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- which variants -------------------------------------------------------------------------- */

static const json_t *find_variant(const json_t *service, const char *name)
{
	const json_t *variant;
	size_t i;

	json_array_foreach (json_object_get(service, "variants"), i, variant)
		if (!strcmp(cli_str(variant, "name"), name))
			return variant;
	return NULL;
}

static bool has_port(const json_t *service, uint64_t number)
{
	const json_t *port;
	size_t i;

	json_array_foreach (json_object_get(service, "ports"), i, port)
		if (!number || (uint64_t)cli_int(port, "port") == number)
			return true;
	return false;
}

/* Has a service before the @i-th a variant of that name? */
static bool is_earlier(const json_t *services, size_t i, const char *name)
{
	while (i-- > 0)
		if (find_variant(json_array_get(services, i), name))
			return true;
	return false;
}

static int fail_variant(const struct cli *cli, const json_t *services, const char *name)
{
	const json_t *service, *variant;
	char known[400] = "";
	size_t i, j, len = 0;

	json_array_foreach (services, i, service) {
		json_array_foreach (json_object_get(service, "variants"), j, variant) {
			const char *other = cli_str(variant, "name");

			if (!is_earlier(services, i, other) && len < sizeof(known))
				len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
							len ? ", " : "", other);
		}
	}
	return cli_fail(cli, SHUNT_CTL_NOT_FOUND, "service %s has no variant %s; there are: %s",
			cli->args[0], name, known);
}

static int fail_opaque(const struct cli *cli)
{
	return cli_fail(cli, SHUNT_CTL_NOT_FOUND,
			"nothing of service %s is counted that could be compared: it is UDP, or a "
			"TrafficPolicy says signals: off",
			cli->args[0]);
}

/* Has the agent counted @what of both variants? */
static bool is_counted(const json_t *a, const json_t *b, const char *what)
{
	return json_is_object(json_object_get(a, what)) && json_is_object(json_object_get(b, what));
}

/*
 * Finds the split that has both variants and whose HTTP is looked at; else, or if the command says
 * so, one whose connections are. Return: 0 with its index, and whether it is by connections; or an
 * exit code, the sentence printed.
 */
static int pick(const struct cli *cli, const json_t *services, uint64_t port, size_t *ret_index,
		bool *ret_is_connections)
{
	static const char *const what[] = { "http", "tcp" };
	bool wants_connections = cli_flag(cli, "connections");
	size_t i, n_both = 0, n[2] = { 0 }, index[2] = { 0 };
	const json_t *service;

	for (int v = 0; v < 2; v++) {
		bool is_there = false;

		json_array_foreach (services, i, service)
			is_there = is_there || find_variant(service, cli->args[1 + v]);
		if (!is_there)
			return fail_variant(cli, services, cli->args[1 + v]);
	}
	json_array_foreach (services, i, service) {
		const json_t *a = find_variant(service, cli->args[1]);
		const json_t *b = find_variant(service, cli->args[2]);

		if (!a || !b || !has_port(service, port))
			continue;
		n_both++;
		for (int w = 0; w < 2; w++) {
			if (!is_counted(a, b, what[w]))
				continue;
			n[w]++;
			index[w] = i;
		}
	}
	*ret_is_connections = wants_connections || !n[0];
	*ret_index = index[*ret_is_connections];
	if (!n_both && port)
		return cli_fail(cli, SHUNT_CTL_NOT_FOUND,
				"service %s has no port %llu that is split between %s and %s",
				cli->args[0], (unsigned long long)port, cli->args[1], cli->args[2]);
	if (!n_both)
		return cli_fail(cli, SHUNT_CTL_NOT_FOUND,
				"no port of service %s is split between %s and %s", cli->args[0],
				cli->args[1], cli->args[2]);
	if (n[*ret_is_connections] > 1)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"several ports of service %s are split between %s and %s: say "
				"which by --port",
				cli->args[0], cli->args[1], cli->args[2]);
	return n[*ret_is_connections] ? 0 : fail_opaque(cli);
}

/* Asks the agent. Return: 0, or an exit code, the sentence printed. */
static int take(const struct cli *cli, uint64_t port, struct sample *sample)
{
	const json_t *services, *variant;
	json_t *status = NULL;
	size_t index = 0;
	int r;

	r = cli_call(cli, "status", json_pack("{s:s, s:b}", "service", cli->args[0], "times", true),
		     0, &status);
	if (r)
		return r;
	json_decref(sample->status);
	sample->status = status;
	services = json_object_get(status, "services");
	r = pick(cli, services, port, &index, &sample->is_connections);
	if (r)
		return r;
	sample->at_s = clock_s();
	status_label(services, index, sample->label);
	print_tame(sample->label);
	for (int v = 0; v < 2; v++) {
		variant = find_variant(json_array_get(services, index), cli->args[1 + v]);
		sample->golden[v] = sample->is_connections
					    ? cli_connections_read(json_object_get(variant, "tcp"))
					    : cli_signals_read(json_object_get(variant, "http"));
	}
	return 0;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void subtract(struct sample *now, const struct sample *before)
{
	for (int v = 0; v < 2; v++)
		now->golden[v] = shunt_golden_since(&now->golden[v], &before->golden[v]);
}

/* "12 of 30 s: blue 310 requests, green 17", on a line of its own that is written over. */
static void show_progress(const struct cli *cli, const struct sample *before,
			  const struct sample *now, double seconds)
{
	struct sample since = *now;

	subtract(&since, before);
	fprintf(cli->err, "\r\033[K%.0f of %.0f s: %s %llu %s, %s %llu", now->at_s - before->at_s,
		seconds, cli->args[1], (unsigned long long)since.golden[0].requests,
		now->is_connections ? "connections" : "requests", cli->args[2],
		(unsigned long long)since.golden[1].requests);
	fflush(cli->err);
}

static void sleep_s(double seconds)
{
	struct timespec left = { (time_t)seconds,
				 (long)((seconds - (double)(time_t)seconds) * 1e9) };

	while (nanosleep(&left, &left) < 0)
		;
}

/*
 * From the first sample to one that is @seconds later, looking each second where somebody sees it:
 * elsewhere the agent may be away in between.
 */
static int measure(const struct cli *cli, uint64_t port, double seconds, struct sample *sample)
{
	int fd = fileno(cli->err), r = take(cli, port, sample);
	bool is_seen = fd >= 0 && isatty(fd);
	struct sample now = { 0 };

	if (!r && !is_seen)
		fprintf(cli->err, "measuring for %.0f s\n", seconds);
	while (!r) {
		double left = sample->at_s + seconds - clock_s();

		if (left <= 0)
			break;
		sleep_s(is_seen && left > 1 ? 1 : left);
		r = take(cli, port, &now);
		if (!r && is_seen)
			show_progress(cli, sample, &now, seconds);
	}
	if (is_seen)
		fputs("\r\033[K", cli->err);
	if (!r) {
		subtract(&now, sample);
		now.at_s -= sample->at_s;
	}
	json_decref(sample->status);
	*sample = now;
	return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int read_flags(const struct cli *cli, uint64_t *ret_port, int *ret_for_ms)
{
	const char *port = cli_flag(cli, "port");
	int r = cli_flag_duration(cli, "for", 0, ret_for_ms);

	if (r)
		return r;
	if (cli_flag(cli, "for") && *ret_for_ms < 1000)
		return cli_fail(cli, SHUNT_CTL_USAGE, "--for: want at least 1 s");
	if (port && (shunt_number_parse(port, 65535, ret_port) < 0 || !*ret_port))
		return cli_fail(cli, SHUNT_CTL_USAGE, "--port %s: want a number from 1 to 65535",
				port);
	if (!strcmp(cli->args[1], cli->args[2]))
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"want two variants to compare, not %s with itself", cli->args[1]);
	return 0;
}

static int run(struct cli *cli)
{
	struct cli_comparison comparison;
	struct sample sample = { 0 };
	json_auto_t *json = NULL;
	uint64_t port = 0;
	int for_ms, r = read_flags(cli, &port, &for_ms);

	if (!r)
		r = for_ms ? measure(cli, port, for_ms / 1e3, &sample) : take(cli, port, &sample);
	if (!r) {
		comparison = (struct cli_comparison){
			.service = sample.label,
			.variant = { cli->args[1], cli->args[2] },
			.is_connections = sample.is_connections,
			.seconds = for_ms ? sample.at_s : 0,
			.golden = { sample.golden[0], sample.golden[1] },
			.result = shunt_compare(sample.golden),
		};
		if (cli->is_json) {
			json = compare_json(&comparison);
			r = cli_print_json(cli, json);
		} else {
			compare_print(cli, &comparison);
		}
	}
	json_decref(sample.status);
	return r;
}

static const struct cli_flag flags[] = {
	{ "for", "TIME",
	  "measure that long from now on, 1s or more (default: since the counters began)", 0 },
	{ "connections", NULL, "compare TCP connections, also where HTTP is looked at", 0 },
	{ "port", "N", "the service's port, where several are split between the two", 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt compare shop/api blue green --for 1m", "is green as good as blue, this minute?" },
	{ "shunt compare shop/api blue green -o json | jq -r .success_rate.verdict",
	  "different, no-difference-shown or too-few" },
	{ 0 },
};

const struct cli_command cli_compare = {
	.name = "compare",
	.args = "SERVICE VARIANT VARIANT",
	.summary = "say whether one variant answers better than another",
	.text = "Compares two variants of a service. Where plaintext HTTP is looked at: the share "
		"of "
		"responses below 500 among those whose code is known, and the time that half of "
		"the "
		"responses (p50) and 99 of 100 (p99) did not exceed, each with an interval that "
		"holds the truth 95 times of 100. A sentence on each says whether the difference "
		"is real. Less than 100 responses of each variant, or 500 for the p99, are too few "
		"to tell.\n\n"
		"Elsewhere, and with --connections, it is TCP connections: the share that was "
		"established of those that were, were refused, or got no answer, and the time "
		"from SYN to SYN-ACK, which is taken of a sample.\n\n"
		"Success rates differ if the interval of their difference leaves out 0 (Wilson, "
		"Newcombe). Quantiles differ if their intervals (binomial, with the histogram's "
		"bucket) do not overlap, which is the careful way: less than 19 % is never shown. "
		"Each response counts for itself; where failures come in bursts, the intervals are "
		"narrower than the truth.\n\n"
		"Without --for it is all since the counters began: after a change of what a "
		"variant "
		"runs, use --for.",
	.flags = flags,
	.examples = examples,
	.min_args = 3,
	.max_args = 3,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND),
	.complete = CLI_COMPLETE_SERVICE_VARIANTS,
	.run = run,
};
