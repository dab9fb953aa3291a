// SPDX-License-Identifier: Apache-2.0
#include "agent/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "ctl/ctl.h"
#include "metrics/compat.h"

enum kind {
	KIND_TEXT,	/* const char * */
	KIND_NUMBER,	/* uint32_t, min..max */
	KIND_TIME,	/* uint32_t in ms, min..max ms */
	KIND_PERCENT,	/* uint32_t in basis points */
	KIND_CHOICE,	/* int: index in choices */
	KIND_GATE,	/* appended to gates */
	KIND_SOURCE,	/* an address, one of each family */
	KIND_UID,	/* appended to allowed_uids */
	KIND_METRICS,	/* ADDR:PORT */
	KIND_COMPAT,	/* names, separated by commas: a set of bits */
	KIND_PORTS,	/* FIRST-LAST */
	KIND_TRANSLATE, /* the dialects' own table */
	KIND_ACTION,	/* min: enum agent_options_action */
};

/* One option: parsing, --help and the man page all read this table. */
struct option_row {
	const char *name;
	const char *value; /* NULL: a switch */
	const char *help;  /* with unit, range and default */
	enum kind kind;
	size_t offset; /* in struct agent_options */
	uint64_t min, max;
	const char *const *choices;
};

static const char *const tc_modes[] = { "auto", "tcx", "clsact", NULL };
static const char *const forward_ways[] = { "stack", "redirect", NULL };
static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };

#define AT(field) offsetof(struct agent_options, field)
#define SIZE(name_, field, help_, min_, max_)                                                      \
	{                                                                                          \
		.name = name_, .value = "N", .help = help_, .kind = KIND_NUMBER,                   \
		.offset = AT(dp.sizes.field), .min = min_, .max = max_                             \
	}
#define TIMEOUT(name_, index, help_)                                                               \
	{                                                                                          \
		.name = name_, .value = "TIME", .help = help_, .kind = KIND_TIME,                  \
		.offset = AT(dp.timeout_ms[index]), .min = 10, .max = 604800000                    \
	}
#define TRANSLATE(name_, value_, help_)                                                            \
	{ .name = name_, .value = value_, .help = help_, .kind = KIND_TRANSLATE },

static const struct option_row rows[] = {
	{ "source", "DIR",
	  "read manifests from this directory, and again when they change; required", KIND_TEXT,
	  AT(source_dir), 0, 0, NULL },
	{ "gate", "PATTERN[:tc|:xdp][:uplink][:external]",
	  "guard the interfaces whose names match, *, ? and [] allowed; hook tc unless xdp is "
	  "said; uplink: other nodes are behind it, connections that go back out of an uplink get "
	  "this node's address as source; external: what claims the address of a pod or of this "
	  "node is dropped there; may be repeated, the first that matches counts",
	  KIND_GATE, 0, 0, 0, NULL },
	{ "nat-source", "ADDR",
	  "this node's address for connections that come in and go out by uplinks; once for each "
	  "family (default: the first global address of the uplink that they leave by)",
	  KIND_SOURCE, 0, 0, 0, NULL },
	{ "tc", "MODE", "how tc programs are attached: auto, tcx or clsact (default auto)",
	  KIND_CHOICE, AT(dp.tc_mode), 0, 0, tc_modes },
	{ "forward", "WAY",
	  "how new connections go on: stack, by the host's stack and its netfilter; redirect, from "
	  "gate to gate past both, in both directions, where routes lead so: netfilter's rules, "
	  "network policies among them, do not see them (default stack)",
	  KIND_CHOICE, AT(dp.forward), 0, 0, forward_ways },
	SHUNT_TRANSLATE_OPTIONS(TRANSLATE) //
	{ "max-step", "PERCENT",
	  "refuse a change that raises one variant's share by more, 0.01 to 100 (default: off)",
	  KIND_PERCENT, AT(max_step_bp), 1, 10000, NULL },
	{ "bpffs", "DIR", "where maps and links are pinned (default /sys/fs/bpf/shunt)", KIND_TEXT,
	  AT(dp.bpffs), 0, 0, NULL },
	{ "state-dir", "DIR",
	  "where overrides, history and the secret of the choice are kept (default /var/lib/shunt)",
	  KIND_TEXT, AT(dp.state_dir), 0, 0, NULL },
	{ "socket", "PATH", "control socket for shunt(8) (default " SHUNT_CTL_SOCKET ")", KIND_TEXT,
	  AT(socket_path), 0, 0, NULL },
	{ "allow-uid", "UID",
	  "also take commands of this user, besides root and the agent's own; may be repeated",
	  KIND_UID, 0, 0, 0, NULL },
	{ "metrics", "ADDR:PORT",
	  "serve /metrics, /healthz and /readyz by HTTP, an IPv6 address in brackets (default: "
	  "off)",
	  KIND_METRICS, 0, 0, 0, NULL },
	{ "metrics-compat", "NAMES",
	  "also serve the series that Flagger queries, under the names of these products: traefik, "
	  "linkerd, separated by commas (default: none)",
	  KIND_COMPAT, AT(metrics_compat), 0, 0, NULL },
	SIZE("max-flows", flows, "entries of the flow table, 1024 to 16777216 (default 262144)",
	     1024, 16777216),
	SIZE("max-services", services, "service ports, 16 to 65536 (default 4096)", 16, 65536),
	SIZE("max-variants", variants, "variants of all services, 16 to 131072 (default 8192)", 16,
	     131072),
	SIZE("max-backends", backends, "backends of all variants, 16 to 1048576 (default 32768)",
	     16, 1048576),
	SIZE("max-frontends", frontends,
	     "frontend and backend addresses together, 16 to 1048576 (default 65536)", 16, 1048576),
	SIZE("max-ring-entries", ring_entries,
	     "entries of all Maglev tables, 65536 to 268435456 (default 8388608)", 65536,
	     268435456),
	SIZE("max-sessions", sessions,
	     "clients remembered by session affinity, 16 to 16777216 (default 65536)", 16,
	     16777216),
	SIZE("max-fragments", fragments,
	     "packets in fragments at a time, 1024 to 1048576 (default 8192)", 1024, 1048576),
	SIZE("max-policies", policies,
	     "policies of all service ports, with four limits each, 64 to 65536 (default 1024)", 64,
	     65536),
	SIZE("max-limit-clients", limit_clients,
	     "clients that limits for each client keep in mind, 512 to 2097152 (default 65536)",
	     512, 2097152),
	SIZE("max-sources", sources,
	     "prefixes of all address lists, of each family, 16 to 1048576 (default 65536)", 16,
	     1048576),
	SIZE("max-breakers", breakers,
	     "circuit breakers: one a service, or one for each variant or backend, 16 to 65536 "
	     "(default 1024)",
	     16, 65536),
	TIMEOUT("timeout-half-open", SHUNT_T_HALF_OPEN,
		"TCP connection that the client has not confirmed, 10ms to 7 days (default 10s)"),
	TIMEOUT("timeout-established", SHUNT_T_ESTABLISHED,
		"idle TCP connection, 10ms to 7 days (default 24h)"),
	TIMEOUT("timeout-closing", SHUNT_T_CLOSING,
		"TCP connection that one side has closed or reset, 10ms to 7 days (default 60s)"),
	TIMEOUT("timeout-closed", SHUNT_T_CLOSED,
		"TCP connection that is closed, kept for retransmissions, 10ms to 7 days (default "
		"10s)"),
	TIMEOUT("timeout-udp-new", SHUNT_T_UDP_NEW,
		"UDP flow that has not gone on after an answer, 10ms to 7 days (default 30s)"),
	TIMEOUT("timeout-udp", SHUNT_T_UDP, "UDP flow that has, 10ms to 7 days (default 3m)"),
	{ "timeout-fragment", "TIME",
	  "how long after the first fragment of a packet others go with it, 10ms to 60s (default "
	  "1s)",
	  KIND_TIME, AT(dp.timeout_ms[SHUNT_T_FRAGMENT]), 10, 60000, NULL },
	{ "nat-ports", "FIRST-LAST",
	  "source ports for flows that collide behind one backend (default 61000-65535)",
	  KIND_PORTS, 0, 0, 0, NULL },
	{ "client-share", "PERCENT",
	  "of the flow table that connections of one client, an IPv4 address or an IPv6 /64, may "
	  "take, 0.01 to 100 (default 25)",
	  KIND_PERCENT, AT(dp.client_share_bp), 1, 10000, NULL },
	{ "icmp-rate", "N",
	  "ICMP errors that are sent per second and CPU, 0 to 1000000; what is above is "
	  "dropped, 0: no limit (default 1000)",
	  KIND_NUMBER, AT(dp.icmp_rate), 0, 1000000, NULL },
	{ "rst-rate", "N",
	  "RST answers per second and CPU, 0 to 1000000; what is above is dropped, 0: no limit, as "
	  "any host answers for a closed port (default 0)",
	  KIND_NUMBER, AT(dp.rst_rate), 0, 1000000, NULL },
	{ "debounce", "TIME", "wait for more changes of files, 0 to 10s (default 10ms)", KIND_TIME,
	  AT(debounce_ms), 0, 10000, NULL },
	{ "resync", "TIME",
	  "look at files, interfaces and hooks even if nothing was reported, 100ms to 1h (default "
	  "30s)",
	  KIND_TIME, AT(resync_ms), 100, 3600000, NULL },
	{ "log-level", "LEVEL", "error, warn, info or debug (default info)", KIND_CHOICE,
	  AT(log_level), 0, 0, log_levels },
	{ "version", NULL, "print the version and exit", KIND_ACTION, 0, AGENT_SHOW_VERSION, 0,
	  NULL },
	{ "help", NULL, "print this text and exit", KIND_ACTION, 0, AGENT_SHOW_HELP, 0, NULL },
	{ "man", NULL, "print the man page (roff) and exit", KIND_ACTION, 0, AGENT_SHOW_MAN, 0,
	  NULL },
};

/* ---- values ------------------------------------------------------------------------------- */

static int bad_value(struct shunt_err *err, const struct option_row *row, const char *value)
{
	return shunt_err_set(err, -EINVAL, "--%s %s: not valid; %s", row->name, value, row->help);
}

/* Times as shunt_duration_parse(), and decimal seconds such as 0.25. */
static int parse_time(const char *text, uint64_t *ret_ms)
{
	size_t digits = strspn(text, "0123456789.");
	double seconds;
	char *end;

	if (!strchr(text, '.'))
		return shunt_duration_parse(text, ret_ms);
	if (text[0] < '0' || text[0] > '9' || (text[digits] && strcmp(text + digits, "s")))
		return -EINVAL;
	seconds = strtod(text, &end);
	if (end != text + digits || seconds > 604800)
		return -EINVAL;
	*ret_ms = (uint64_t)(seconds * 1000 + 0.5);
	return 0;
}

static int set_number(void *field, const struct option_row *row, const char *text,
		      struct shunt_err *err)
{
	uint64_t value = 0;
	double percent;
	char *end;
	int r;

	if (row->kind == KIND_TIME) {
		r = parse_time(text, &value);
	} else if (row->kind == KIND_NUMBER) {
		r = shunt_number_parse(text, row->max, &value);
	} else {
		percent = strtod(text, &end);
		r = text[0] < '0' || text[0] > '9' || *end || percent > 100 ? -EINVAL : 0;
		value = r ? 0 : (uint64_t)(percent * 100 + 0.5);
	}
	if (r < 0 || value < row->min || value > row->max)
		return bad_value(err, row, text);
	*(uint32_t *)field = value;
	return 0;
}

static int set_choice(int *field, const struct option_row *row, const char *text,
		      struct shunt_err *err)
{
	for (int i = 0; row->choices[i]; i++)
		if (!strcmp(row->choices[i], text)) {
			*field = i;
			return 0;
		}
	return bad_value(err, row, text);
}

static int add_gate(struct agent_options *options, const char *text, struct shunt_err *err)
{
	struct agent_gate_pattern pattern, *slot;
	int r = agent_gate_parse(text, &pattern, err);

	if (r < 0)
		return r;
	slot = shunt_array_add(&options->gates, &options->n_gates, sizeof(*slot));
	if (!slot)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	*slot = pattern;
	return 0;
}

static int add_uid(struct agent_options *options, const struct option_row *row, const char *text,
		   struct shunt_err *err)
{
	uint64_t uid;
	uid_t *slot;

	if (shunt_number_parse(text, UINT32_MAX - 1, &uid) < 0)
		return bad_value(err, row, text);
	slot = shunt_array_add(&options->allowed_uids, &options->n_allowed_uids, sizeof(*slot));
	if (!slot)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	*slot = uid;
	return 0;
}

static int set_source(struct agent_options *options, const struct option_row *row, const char *text,
		      struct shunt_err *err)
{
	struct shunt_ip ip;

	if (shunt_ip_parse(text, &ip) < 0 || shunt_ip_is_loopback(&ip) ||
	    shunt_ip_is_link_local(&ip) || shunt_ip_is_unspecified(&ip) ||
	    shunt_ip_is_multicast(&ip))
		return bad_value(err, row, text);
	options->nat_source[ip.family] = ip.addr;
	options->has_nat_source[ip.family] = true;
	return 0;
}

static int set_ports(struct shunt_dp_opts *dp, const struct option_row *row, const char *text,
		     struct shunt_err *err)
{
	char first[8] = "";
	const char *dash = strchr(text, '-');
	uint64_t low, high;

	if (!dash || (size_t)(dash - text) >= sizeof(first))
		return bad_value(err, row, text);
	memcpy(first, text, dash - text);
	if (shunt_number_parse(first, 65535, &low) < 0 ||
	    shunt_number_parse(dash + 1, 65535, &high) < 0 || low < 1024 || low > high)
		return bad_value(err, row, text);
	dp->nat_port_first = low;
	dp->nat_port_last = high;
	return 0;
}

static int set_compat(unsigned *field, const struct option_row *row, const char *text,
		      struct shunt_err *err)
{
	static const struct {
		const char *name;
		enum shunt_compat_series series;
	} known[] = { { "traefik", SHUNT_COMPAT_TRAEFIK }, { "linkerd", SHUNT_COMPAT_LINKERD } };
	const char *word = text;
	unsigned series = 0;

	for (;;) {
		size_t len = strcspn(word, ","), i = 0;

		while (i < ARRAY_LEN(known) &&
		       (strlen(known[i].name) != len || strncmp(known[i].name, word, len)))
			i++;
		if (i == ARRAY_LEN(known))
			return bad_value(err, row, text);
		series |= known[i].series;
		if (!word[len])
			break;
		word += len + 1;
	}
	*field = series;
	return 0;
}

static int set_value(struct agent_options *options, const struct option_row *row, const char *text,
		     struct shunt_err *err)
{
	void *field = (char *)options + row->offset;

	switch (row->kind) {
	case KIND_TEXT:
		if (!*text)
			return bad_value(err, row, "\"\"");
		*(const char **)field = text;
		return 0;
	case KIND_NUMBER:
	case KIND_TIME:
	case KIND_PERCENT:
		return set_number(field, row, text, err);
	case KIND_CHOICE:
		return set_choice(field, row, text, err);
	case KIND_GATE:
		return add_gate(options, text, err);
	case KIND_SOURCE:
		return set_source(options, row, text, err);
	case KIND_UID:
		return add_uid(options, row, text, err);
	case KIND_METRICS:
		if (shunt_addr_port_parse(text, &options->metrics_ip, &options->metrics_port) < 0)
			return bad_value(err, row, text);
		return 0;
	case KIND_COMPAT:
		return set_compat(field, row, text, err);
	case KIND_PORTS:
		return set_ports(&options->dp, row, text, err);
	case KIND_TRANSLATE:
		return shunt_dialect_options_set(&options->dialect, row->name, text, err);
	case KIND_ACTION:
		break;
	}
	return row->min;
}

/* ---- the command line ------------------------------------------------------------------------ */

static void set_defaults(struct agent_options *options)
{
	*options = (struct agent_options){
		.socket_path = SHUNT_CTL_SOCKET,
		.dp = { .bpffs = "/sys/fs/bpf/shunt",
			.state_dir = "/var/lib/shunt",
			.sizes = { .flows = 262144,
				   .frontends = 65536,
				   .services = 4096,
				   .variants = 8192,
				   .backends = 32768,
				   .ring_entries = 8388608,
				   .sessions = 65536 },
			.nat_port_first = 61000,
			.nat_port_last = 65535,
			.icmp_rate = 1000,
			.client_share_bp = 2500 },
		.debounce_ms = 10,
		.resync_ms = 30000,
		.log_level = SHUNT_LOG_INFO,
	};
	shunt_dialect_options_init(&options->dialect);
}

static void make_getopt(struct option *long_options)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		long_options[i] = (struct option){
			.name = rows[i].name,
			.has_arg = rows[i].value ? required_argument : no_argument,
		};
	long_options[ARRAY_LEN(rows)] = (struct option){ 0 };
}

int agent_options_parse(int argc, char **argv, struct agent_options *ret_options,
			struct shunt_err *err)
{
	struct option long_options[ARRAY_LEN(rows) + 1];
	int c, index, r;

	set_defaults(ret_options);
	make_getopt(long_options);
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, ":", long_options, &index)) != -1) {
		if (c == ':')
			return shunt_err_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
		if (c == '?')
			return shunt_err_set(err, -EINVAL, "unknown option %s; see shuntd --help",
					     argv[optind - 1]);
		r = set_value(ret_options, &rows[index], optarg, err);
		if (r < 0 || rows[index].kind == KIND_ACTION)
			return r;
	}
	if (optind < argc)
		return shunt_err_set(err, -EINVAL, "unexpected argument %s; see shuntd --help",
				     argv[optind]);
	if (ret_options->metrics_compat && !ret_options->metrics_port)
		return shunt_err_set(err, -EINVAL,
				     "--metrics-compat needs --metrics ADDR:PORT: where are they "
				     "to be served?");
	if (!ret_options->source_dir)
		return shunt_err_set(err, -EINVAL,
				     "--source DIR is missing: where are the manifests?");
	return AGENT_RUN;
}

void agent_options_free(struct agent_options *options)
{
	free(options->gates);
	free(options->allowed_uids);
	shunt_dialect_options_free(&options->dialect);
	options->gates = NULL;
	options->allowed_uids = NULL;
}

/* ---- --help and the man page -------------------------------------------------------------------
 */

static const struct {
	int code;
	const char *text;
} exit_codes[] = {
	{ 0, "ended by a signal, or by shunt detach" },
	{ 2, "the command line is wrong" },
	{ 3, "the source directory cannot be read" },
	{ 5, "another agent holds the pins or the state directory, or answers" },
	{ 6, "the kernel refused: rights, no BPF file system, a missing feature" },
	{ 7, "the socket, the state directory or the metrics address cannot be used" },
	{ 8, "out of memory, or an error inside the agent" },
};

static const char *const signals[][2] = {
	{ "SIGTERM, SIGINT", "stop; maps and programs stay and go on working" },
	{ "SIGHUP", "read the source again, look at interfaces and hooks" },
};

/* Prints @text below a column, folded at 100. */
static void fold(FILE *out, const char *text, unsigned indent)
{
	unsigned column = indent;

	while (*text) {
		size_t word = strcspn(text, " ");

		if (column > indent && column + word > 98) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		fprintf(out, "%s%.*s", column > indent ? " " : "", (int)word, text);
		column += word + 1;
		text += word + (text[word] == ' ');
	}
	fputc('\n', out);
}

void agent_options_help(FILE *out)
{
	char head[64];

	fputs("shuntd: split Kubernetes traffic in the kernel, on this node\n\n"
	      "usage: shuntd --source DIR [--gate PATTERN[:tc|:xdp][:uplink][:external]]... "
	      "[options]\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(head, sizeof(head), "  --%s %s", rows[i].name,
			 rows[i].value ? rows[i].value : "");
		fprintf(out, "%-30s ", head);
		if (strlen(head) > 30)
			fprintf(out, "\n%31s", "");
		fold(out, rows[i].help, 31);
	}
	fputs("\nTimes: 500ms, 0.5, 10s, 5m, 2h.\n\nExit status:\n", out);
	for (size_t i = 0; i < ARRAY_LEN(exit_codes); i++)
		fprintf(out, "  %d  %s\n", exit_codes[i].code, exit_codes[i].text);
}

/* A hyphen is a hyphen only if it is escaped; a backslash and a leading dot mean something. */
static void roff(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", out);
		else if (*text == '\\')
			fputs("\\e", out);
		else
			fputc(*text, out);
	}
}

static void roff_options(FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		fputs(".TP\n.B ", out);
		roff(out, "--");
		roff(out, rows[i].name);
		if (rows[i].value) {
			fputs(" \\fI", out);
			roff(out, rows[i].value);
			fputs("\\fR", out);
		}
		fputc('\n', out);
		roff(out, rows[i].help);
		fputs(".\n", out);
	}
}

void agent_options_man(FILE *out)
{
	fputs(".\\\" SPDX-License-Identifier: Apache-2.0\n"
	      ".TH SHUNTD 8 \"\" \"shunt\" \"System administration\"\n.SH NAME\n"
	      "shuntd \\- split Kubernetes traffic in the kernel, on this node\n.SH SYNOPSIS\n"
	      ".B shuntd\n\\fB\\-\\-source\\fR \\fIDIR\\fR [\\fB\\-\\-gate\\fR "
	      "\\fIPATTERN\\fR[\\fB:tc\\fR|\\fB:xdp\\fR]]... [options]\n.SH DESCRIPTION\n"
	      "Reads Kubernetes manifests, compiles the services that split their traffic, and "
	      "keeps\n"
	      "the BPF maps of this node in step with them. The interfaces that match a gate are\n"
	      "guarded. What it installs goes on working when it ends; \\fBshunt detach\\fR "
	      "removes\n"
	      "it. Commands come over the control socket by \\fBshunt\\fR(8).\n"
	      ".PP\nTimes are written 500ms, 0.5, 10s, 5m or 2h.\n.SH OPTIONS\n",
	      out);
	roff_options(out);
	fputs(".SH SIGNALS\n", out);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		fprintf(out, ".TP\n.B %s\n%s.\n", signals[i][0], signals[i][1]);
	fputs(".SH EXIT STATUS\n", out);
	for (size_t i = 0; i < ARRAY_LEN(exit_codes); i++)
		fprintf(out, ".TP\n.B %d\n%s.\n", exit_codes[i].code, exit_codes[i].text);
	fputs(".SH SEE ALSO\n\\fBshunt\\fR(8)\n", out);
}
