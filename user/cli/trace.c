// SPDX-License-Identifier: Apache-2.0
#include "cli/trace.h"

#include <ctype.h>
#include <string.h>

#include "base/units.h"
#include "cli/print.h"

#define STAGE_COLUMN 11 /* where a stage's words begin, behind two blanks */

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* The record of the stage @name, or NULL. */
static const json_t *stage_of(const json_t *packet, const char *name)
{
	const json_t *stage;
	size_t i;

	json_array_foreach (json_object_get(packet, "stages"), i, stage)
		if (!strcmp(cli_str(stage, "stage"), name))
			return stage;
	return NULL;
}

/* ---- words ----------------------------------------------------------------------------------- */

static enum print_style action_style(const char *action)
{
	if (!strcmp(action, "REJECT") || !strcmp(action, "DROP"))
		return PRINT_BAD;
	return strcmp(action, "PASS") ? PRINT_GOOD : PRINT_DIM;
}

static const char *action_word(const char *action)
{
	if (!strcmp(action, "REJECT"))
		return "rejected";
	if (!strcmp(action, "DROP"))
		return "dropped";
	return strcmp(action, "PASS") ? "" : "passed";
}

/* "FIN_CLIENT" as "fin client", in @buf of 32 bytes. */
static const char *state_word(const char *state, char *buf)
{
	size_t i;

	for (i = 0; state[i] && i < 31; i++)
		buf[i] = state[i] == '_' ? ' ' : (char)tolower((unsigned char)state[i]);
	buf[i] = '\0';
	return buf;
}

/* "12:00:01.123456", UTC */
static void print_time(const struct cli *cli, const json_t *packet)
{
	const char *time = cli_str(packet, "time");

	print_text(cli, PRINT_DIM, "%.8s.%06lld", strlen(time) > 19 ? time + 11 : "",
		   cli_int(packet, "time_ns") / 1000 % 1000000);
}

static void print_where(const struct cli *cli, const json_t *packet)
{
	const char *hook = cli_str(packet, "hook");

	print_text(cli, PRINT_BOLD, "  %-8s", cli_str(packet, "gate"));
	print_text(cli, PRINT_PLAIN, " %3s %-3s", hook,
		   strcmp(cli_str(packet, "direction"), "egress") ? "in" : "out");
}

/* "tcp SYN 10.1.0.9:40112 > 10.96.0.10:80", or what else the frame holds. */
static void print_headers(const struct cli *cli, const json_t *packet)
{
	const json_t *headers = json_object_get(packet, "packet");
	const char *flags = cli_str(headers, "flags");

	if (json_object_get(headers, "ethertype")) {
		print_text(cli, PRINT_PLAIN, "ethertype %s", cli_str(headers, "ethertype"));
		return;
	}
	print_text(cli, PRINT_PLAIN, "%s%s%s %s > %s", cli_str(headers, "protocol"),
		   *flags ? " " : "", flags, cli_str(headers, "src"), cli_str(headers, "dst"));
	if (*cli_str(headers, "fragment"))
		print_text(cli, PRINT_PLAIN, ", %s fragment", cli_str(headers, "fragment"));
}

/* ---- a line a packet ----------------------------------------------------------------------------
 */

static void print_choice(const struct cli *cli, const json_t *packet)
{
	const json_t *variant = stage_of(packet, "variant"), *known = stage_of(packet, "conntrack");
	char buf[32];

	if (*cli_str(packet, "service"))
		print_text(cli, PRINT_PLAIN, "  %s", cli_str(packet, "service"));
	if (*cli_str(packet, "variant"))
		print_text(cli, PRINT_BOLD, " %s", cli_str(packet, "variant"));
	if (variant && *cli_str(packet, "variant"))
		print_text(cli, PRINT_PLAIN, ", new, weight %lld of %lld",
			   cli_int(variant, "weight"), cli_int(variant, "weights"));
	else if (is_true(packet, "new") && *cli_str(packet, "service"))
		print_text(cli, PRINT_PLAIN, ", new%s",
			   is_true(stage_of(packet, "affinity"), "kept") ? ", by its session" : "");
	else if (is_true(known, "known") && !is_true(known, "stale"))
		print_text(cli, PRINT_PLAIN, ", %s", state_word(cli_str(known, "state"), buf));
}

void trace_print_line(const struct cli *cli, const json_t *packet)
{
	const json_t *rewrite = stage_of(packet, "rewrite"), *icmp = stage_of(packet, "icmp");
	const json_t *to = json_object_get(rewrite, "to"), *from = json_object_get(rewrite, "from");
	const char *action = cli_str(packet, "action");

	print_time(cli, packet);
	print_where(cli, packet);
	fputc(' ', cli->out);
	print_headers(cli, packet);
	if (icmp)
		print_text(cli, PRINT_PLAIN, " about %s > %s",
			   cli_str(json_object_get(icmp, "about"), "src"),
			   cli_str(json_object_get(icmp, "about"), "dst"));
	print_text(cli, action_style(action), "  %s", cli_str(packet, "reason"));
	if (rewrite && strcmp(cli_str(to, "src"), cli_str(from, "src")))
		print_text(cli, PRINT_PLAIN, " from %s", cli_str(to, "src"));
	if (rewrite && strcmp(cli_str(to, "dst"), cli_str(from, "dst")))
		print_text(cli, PRINT_PLAIN, " to %s", cli_str(to, "dst"));
	if (*action_word(action))
		print_text(cli, PRINT_PLAIN, " %s: %s", action_word(action),
			   cli_str(packet, "text"));
	print_choice(cli, packet);
	fputc('\n', cli->out);
}

/* ---- a line a stage
 * ------------------------------------------------------------------------------- */

static void print_lookup(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	(void)packet;
	if (*cli_str(stage, "service"))
		print_text(cli, PRINT_PLAIN, "service %s", cli_str(stage, "service"));
	else
		print_text(cli, PRINT_PLAIN, "no service, but a known backend");
}

static void print_parse(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	const json_t *headers = json_object_get(packet, "packet");
	long long segments = cli_int(headers, "segments");

	(void)stage;
	print_headers(cli, packet);
	print_text(cli, PRINT_PLAIN, ", %lld bytes", cli_int(headers, "bytes"));
	if (segments > 1)
		print_text(cli, PRINT_PLAIN, " in %lld segments", segments);
}

static void print_icmp(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	const json_t *about = json_object_get(stage, "about");

	(void)packet;
	print_text(cli, PRINT_PLAIN, "error about %s %s > %s", cli_str(stage, "protocol"),
		   cli_str(about, "src"), cli_str(about, "dst"));
}

static void print_conntrack(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	char before[32], after[32], age[SHUNT_UNIT_STR_LEN], idle[SHUNT_UNIT_STR_LEN];

	(void)packet;
	if (!is_true(stage, "known")) {
		print_text(cli, PRINT_PLAIN, "no entry");
		return;
	}
	print_text(cli, PRINT_PLAIN, "%s%s, %s old, idle for %s, begun at %s",
		   is_true(stage, "direct") ? "direct, " : "",
		   state_word(cli_str(stage, "state"), before),
		   shunt_duration_str((uint64_t)cli_int(stage, "age_ms"), age),
		   shunt_duration_str((uint64_t)cli_int(stage, "idle_ms"), idle),
		   cli_str(stage, "gate"));
	state_word(cli_str(stage, "state_after"), after);
	if (is_true(stage, "stale"))
		print_text(cli, PRINT_PLAIN, ": of no use any more, removed");
	else if (strcmp(before, after))
		print_text(cli, PRINT_PLAIN, ": now %s", after);
}

static void print_gate(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	(void)stage;
	(void)packet;
	print_text(cli, PRINT_PLAIN, "lets it in");
}

static void print_admit(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	(void)stage;
	(void)packet;
	print_text(cli, PRINT_PLAIN, "a new flow may begin");
}

static void print_affinity(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	(void)packet;
	if (is_true(stage, "kept"))
		print_text(cli, PRINT_PLAIN, "the client's session keeps %s, %s",
			   cli_str(stage, "variant"), cli_str(stage, "backend"));
	else
		print_text(cli, PRINT_PLAIN, "the client has no session");
}

static void print_variant(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	(void)packet;
	print_text(cli, PRINT_PLAIN, "%s, weight %lld of %lld, hash %s", cli_str(stage, "variant"),
		   cli_int(stage, "weight"), cli_int(stage, "weights"), cli_str(stage, "hash"));
}

static void print_backend(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	(void)packet;
	print_text(cli, PRINT_PLAIN, "%s", cli_str(stage, "backend"));
}

static void print_entry(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	(void)packet;
	print_text(cli, PRINT_PLAIN, "made%s",
		   is_true(stage, "source_translated") ? ", with another source port: the client's "
							 "own is taken"
						       : "");
}

static void print_rewrite(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	const json_t *from = json_object_get(stage, "from"), *to = json_object_get(stage, "to");

	(void)packet;
	print_text(cli, PRINT_PLAIN, "%s > %s becomes %s > %s", cli_str(from, "src"),
		   cli_str(from, "dst"), cli_str(to, "src"), cli_str(to, "dst"));
}

static const struct {
	const char *name;
	void (*print)(const struct cli *cli, const json_t *stage, const json_t *packet);
} stages[] = {
	{ "parse", print_parse },	{ "lookup", print_lookup },
	{ "icmp", print_icmp },		{ "conntrack", print_conntrack },
	{ "gate", print_gate },		{ "admit", print_admit },
	{ "affinity", print_affinity }, { "variant", print_variant },
	{ "backend", print_backend },	{ "entry", print_entry },
	{ "rewrite", print_rewrite },
};

static void print_stage(const struct cli *cli, const json_t *stage, const json_t *packet)
{
	const char *name = cli_str(stage, "stage");

	print_text(cli, PRINT_DIM, "  %-*s", STAGE_COLUMN, name);
	if (*cli_str(stage, "reason")) {
		if (!strcmp(name, "parse") && json_object_get(packet, "packet")) {
			print_headers(cli, packet);
			fputs(": ", cli->out);
		}
		print_text(cli, PRINT_WARN, "%s: %s", cli_str(stage, "reason"),
			   cli_str(stage, "text"));
	} else {
		for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
			if (!strcmp(stages[i].name, name))
				stages[i].print(cli, stage, packet);
	}
	fputc('\n', cli->out);
}

void trace_print_stages(const struct cli *cli, const json_t *packet)
{
	const char *action = cli_str(packet, "action");
	const json_t *stage;
	size_t i;

	print_time(cli, packet);
	print_where(cli, packet);
	print_text(cli, PRINT_DIM, " cpu %lld", cli_int(packet, "cpu"));
	if (!json_array_size(json_object_get(packet, "stages"))) {
		fputs("  ", cli->out);
		print_headers(cli, packet);
	}
	fputc('\n', cli->out);
	json_array_foreach (json_object_get(packet, "stages"), i, stage)
		print_stage(cli, stage, packet);
	print_text(cli, PRINT_DIM, "  %-*s", STAGE_COLUMN, "verdict");
	print_text(cli, action_style(action), "%s", cli_str(packet, "reason"));
	print_text(cli, PRINT_PLAIN, ": %s (%s, %.1f us)", cli_str(packet, "text"),
		   cli_str(packet, "verdict"), (double)cli_int(packet, "took_ns") / 1000);
	fputc('\n', cli->out);
}
