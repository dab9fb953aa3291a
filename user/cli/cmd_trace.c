// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "cli/cli.h"
#include "cli/print.h"
#include "cli/trace.h"
#include "datapath/trace_filter.h"

#define MAX_FOR_MS (24 * 3600000)
#define MAX_COUNT  1000000000
#define MAX_RATE   1000000

/* What the agent sends is one of four: begin, packet, missed, end. */
struct tracing {
	const struct cli *cli;
	bool is_verbose;
	bool has_ended;
};

static void print_missed(const struct cli *cli, const json_t *missed)
{
	long long limited = cli_int(missed, "limited"), lost = cli_int(missed, "lost");

	if (limited)
		fprintf(cli->err, "shunt: %lld more packets matched, above the rate: --rate N\n",
			limited);
	if (lost)
		fprintf(cli->err,
			"shunt: %lld packets were lost: a narrower filter, or a smaller "
			"--rate\n",
			lost);
}

static void print_end(const struct cli *cli, const json_t *end)
{
	long long told = cli_int(end, "told"), limited = cli_int(end, "limited");

	fprintf(cli->err, "shunt: %lld packet%s shown", told, told == 1 ? "" : "s");
	if (limited)
		fprintf(cli->err, ", %lld more above the rate", limited);
	if (cli_int(end, "lost"))
		fprintf(cli->err, ", %lld lost", cli_int(end, "lost"));
	fprintf(cli->err, "; ended: %s\n", cli_str(end, "why"));
}

static void print_begin(const struct cli *cli, const json_t *begin)
{
	char length[SHUNT_UNIT_STR_LEN];
	long long gates = cli_int(begin, "gates");

	if (!gates)
		fprintf(cli->err, "shunt: no gate is attached, so no packet will be seen: shuntd "
				  "--gate names them\n");
	fprintf(cli->err, "shunt: tracing %lld gate%s for %s, or until interrupted\n", gates,
		gates == 1 ? "" : "s",
		shunt_duration_str((uint64_t)cli_int(begin, "for_ms"), length));
}

static int on_line(void *ctx, json_t *line)
{
	const json_t *packet = json_object_get(line, "packet"),
		     *missed = json_object_get(line, "missed"),
		     *begin = json_object_get(line, "begin"), *end = json_object_get(line, "end");
	struct tracing *t = ctx;

	if (begin)
		print_begin(t->cli, begin);
	if (missed)
		print_missed(t->cli, missed);
	if (end) {
		print_end(t->cli, end);
		t->has_ended = true;
		return 1;
	}
	if (!packet)
		return 0;
	if (t->cli->is_json) {
		json_dumpf(packet, t->cli->out, JSON_COMPACT);
		fputc('\n', t->cli->out);
	} else if (t->is_verbose) {
		trace_print_stages(t->cli, packet);
	} else {
		trace_print_line(t->cli, packet);
	}
	return fflush(t->cli->out) != 0; /* a reader that has gone ends it */
}

/* ---- the request
 * --------------------------------------------------------------------------------- */

static int read_number(const struct cli *cli, const char *name, uint64_t min, uint64_t max,
		       json_t *args)
{
	const char *text = cli_flag(cli, name);
	uint64_t n;

	if (!text)
		return 0;
	if (shunt_number_parse(text, max, &n) < 0 || n < min)
		return cli_fail(cli, SHUNT_CTL_USAGE, "--%s %s: want a number from %llu to %llu",
				name, text, (unsigned long long)min, (unsigned long long)max);
	json_object_set_new(args, name, json_integer((json_int_t)n));
	return 0;
}

/* The words of the command line, as one text. */
static int read_filter(const struct cli *cli, json_t *args)
{
	char text[SHUNT_TRACE_MAX_FILTER + 2] = "";
	struct shunt_trace_query query;
	struct shunt_err err = { 0 };
	size_t len = 0;

	for (int i = 0; i < cli->n_args && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					cli->args[i]);
	if (shunt_trace_query_parse(text, &query, &err) < 0)
		return cli_fail(cli, SHUNT_CTL_USAGE, "%s", err.text);
	json_object_set_new(args, "filter", json_string(text));
	return 0;
}

static int read_request(const struct cli *cli, json_t *args)
{
	int r, for_ms;

	r = read_filter(cli, args);
	if (!r)
		r = read_number(cli, "count", 1, MAX_COUNT, args);
	if (!r)
		r = read_number(cli, "rate", 1, MAX_RATE, args);
	if (r || !cli_flag(cli, "for"))
		return r;
	r = cli_flag_duration(cli, "for", 0, &for_ms);
	if (r)
		return r;
	if (for_ms < 1 || for_ms > MAX_FOR_MS)
		return cli_fail(cli, SHUNT_CTL_USAGE, "--for %s: want a time from 1ms to 24h",
				cli_flag(cli, "for"));
	json_object_set_new(args, "for_ms", json_integer(for_ms));
	return 0;
}

static int interrupts[2] = { -EBADF, -EBADF }; /* a pipe */

static void on_interrupt(int signum)
{
	char byte = (char)signum;

	if (write(interrupts[1], &byte, 1) < 0)
		_exit(128 + signum);
}

/*
 * Ctrl-C makes interrupts[0] readable, so that the agent can say the end of it. A second one
 * ends us at once, should it not answer.
 */
static void catch_interrupts(void)
{
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };

	if (pipe(interrupts) < 0)
		return;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int run(struct cli *cli)
{
	struct tracing t = { .cli = cli, .is_verbose = cli_flag(cli, "verbose") };
	json_auto_t *args = json_object();
	struct shunt_err err = { 0 };
	int r, exit_code;

	r = read_request(cli, args);
	if (r)
		return r;
	catch_interrupts();
	r = shunt_ctl_follow(cli->socket, "trace", args, on_line, &t, interrupts[0], &exit_code,
			     &err);
	if (t.has_ended || r > 0)
		return 0;
	if (r == -ECONNRESET)
		return cli_fail(cli, SHUNT_CTL_UNAVAILABLE,
				"the agent has gone; its programs go on splitting and tell nothing "
				"more, and the next agent puts the plain ones back");
	return cli_fail(cli, exit_code, "%s", err.text);
}

static const struct cli_flag flags[] = {
	{ "verbose", NULL, "a line for each stage: what it found and decided", 'v' },
	{ "for", "TIME", "how long (30s); at most 24h", 0 },
	{ "count", "N", "end after this many packets", 'n' },
	{ "rate", "N", "packets a second on each CPU at most (1000); more are counted", 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt trace service shop/api new", "where new connections go, and why" },
	{ "shunt trace -v -n 1 tcp host 10.1.0.9 port 80", "every stage of one packet" },
	{ "shunt trace reason NO_WEIGHT --for 5m -o json", "what is refused, for programs" },
	{ "shunt trace src 10.1.0.0/16 gate eth0", "one network at one gate" },
	{ 0 },
};

const struct cli_command cli_trace = {
	.name = "trace",
	.args = "[FILTER...]",
	.summary = "show packets as the data path sees them: each verdict and its reason",
	.text = "Shows matching packets at the gates while they pass: what they were translated "
		"to, "
		"or why not; with -v what each stage found. For that time the gates get programs "
		"that tell it, in place and without losing a packet; they cost more for every "
		"packet. At the end, or when this command is gone, the plain programs are put "
		"back, so nothing is paid otherwise. Addresses and ports are shown, never "
		"contents.\n\n"
		"FILTER is words that must all hold: tcp, udp, ip, ip6; host NET, src NET, dst "
		"NET, "
		"where NET is an address or ADDRESS/LENGTH; port N, src port N, dst port N; "
		"service "
		"[NAMESPACE/]NAME[:PORT]; reason NAME; gate DEV; new for packets that met no "
		"entry, "
		"the first of each connection. \"and\" may stand between. Addresses and ports are "
		"those before or after the translation, or of the packet that an ICMP error is "
		"about. No words: all packets.\n\n"
		"One tracing at a time; root or the agent's own user.",
	.flags = flags,
	.examples = examples,
	.max_args = -1,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND) | CLI_EXIT(SHUNT_CTL_REFUSED) |
		 CLI_EXIT(SHUNT_CTL_KERNEL),
	.complete = CLI_COMPLETE_TRACE,
	.run = run,
};
