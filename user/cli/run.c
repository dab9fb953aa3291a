// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/cli.h"

#define DEFAULT_TIMEOUT_MS 10000
#define FIRST_LONG	   256
#define MAX_OPTIONS	   64

/* The table's flags in the form of getopt_long(); val is FIRST_LONG + index in flag[]. */
struct option_set {
	struct option options[MAX_OPTIONS + 1];
	const struct cli_flag *flag[MAX_OPTIONS];
	char short_options[2 * MAX_OPTIONS + 4];
	int n;
};

static void option_set_add(struct option_set *set, const struct cli_flag *flags)
{
	char *short_end = set->short_options + strlen(set->short_options);

	for (; flags && flags->name; flags++) {
		set->flag[set->n] = flags;
		set->options[set->n] = (struct option){
			.name = flags->name,
			.has_arg = flags->value ? required_argument : no_argument,
			.val = FIRST_LONG + set->n,
		};
		set->n++;
		if (!flags->short_name)
			continue;
		*short_end++ = flags->short_name;
		if (flags->value)
			*short_end++ = ':';
		*short_end = '\0';
	}
}

static const struct cli_flag *option_set_flag(const struct option_set *set, int found)
{
	if (found >= FIRST_LONG)
		return set->flag[found - FIRST_LONG];
	for (int i = 0; i < set->n; i++) {
		if (set->flag[i]->short_name == found)
			return set->flag[i];
	}
	return NULL;
}

/* What parse() found instead of a command to run. */
#define WANTS_HELP    1
#define WANTS_VERSION 2

/* Return: 0, WANTS_HELP, WANTS_VERSION, or an exit code below 0. */
static int take_global(struct cli *cli, const char *name, const char *value)
{
	uint64_t ms;

	if (!strcmp(name, "help"))
		return WANTS_HELP;
	if (!strcmp(name, "version"))
		return WANTS_VERSION;
	if (!strcmp(name, "socket"))
		cli->socket = value;
	else if (!strcmp(name, "bpffs"))
		cli->bpffs = value;
	else if (!strcmp(name, "state-dir"))
		cli->state_dir = value;
	else if (!strcmp(name, "no-color"))
		cli->is_colour = false;
	else if (!strcmp(name, "output") && !strcmp(value, "json"))
		cli->is_json = true;
	else if (!strcmp(name, "output") && !strcmp(value, "table"))
		cli->is_json = false;
	else if (!strcmp(name, "output"))
		return -cli_fail(cli, SHUNT_CTL_USAGE, "-o %s: want table or json", value);
	else if (!strcmp(name, "timeout") && (shunt_duration_parse(value, &ms) < 0 || !ms))
		return -cli_fail(cli, SHUNT_CTL_USAGE, "--timeout %s: want a time such as 10s",
				 value);
	else if (!strcmp(name, "timeout"))
		cli->timeout_ms = (int)ms;
	return 0;
}

static bool is_global(const struct cli_flag *flag)
{
	for (const struct cli_flag *f = cli_global_flags; f->name; f++) {
		if (f == flag)
			return true;
	}
	return false;
}

/* Parses options up to the end, or with "+" up to the first word. Return: as take_global(). */
static int parse(struct cli *cli, struct option_set *set, int argc, char **argv)
{
	const char *of = cli->command ? cli->command->name : "";
	const struct cli_flag *flag;
	int found, r;

	optind = 0;
	while ((found = getopt_long(argc, argv, set->short_options, set->options, NULL)) != -1) {
		if (found == ':')
			return -cli_fail(cli, SHUNT_CTL_USAGE, "%s needs a value",
					 argv[optind - 1]);
		flag = found == '?' ? NULL : option_set_flag(set, found);
		if (!flag)
			return -cli_fail(cli, SHUNT_CTL_USAGE,
					 "unknown option %s: `shunt help%s%s` lists them",
					 argv[optind - 1], *of ? " " : "", of);
		if (is_global(flag)) {
			r = take_global(cli, flag->name, optarg);
			if (r)
				return r;
			continue;
		}
		if (cli->n_set == CLI_MAX_FLAGS)
			return -cli_fail(cli, SHUNT_CTL_USAGE, "more than %d options",
					 CLI_MAX_FLAGS);
		cli->set[cli->n_set].name = flag->name;
		cli->set[cli->n_set++].value = optarg ? optarg : "";
	}
	return 0;
}

static int check_args(const struct cli *cli)
{
	const struct cli_command *command = cli->command;

	if (cli->n_args >= command->min_args &&
	    (command->max_args < 0 || cli->n_args <= command->max_args))
		return 0;
	return cli_fail(cli, SHUNT_CTL_USAGE, "%s arguments: usage: shunt %s %s",
			cli->n_args < command->min_args ? "too few" : "too many", command->name,
			command->args);
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	struct option_set set = { .short_options = ":" };
	int r;

	option_set_add(&set, cli_global_flags);
	option_set_add(&set, cli->command->flags);
	r = parse(cli, &set, argc, argv);
	if (r < 0)
		return -r;
	if (r == WANTS_VERSION)
		return cli_version.run(cli);
	if (r == WANTS_HELP) {
		cli_help_command(cli->command, cli->out);
		return 0;
	}
	cli->n_args = argc - optind;
	cli->args = argv + optind;
	r = check_args(cli);
	return r ? r : cli->command->run(cli);
}

/* A full disk or a closed standard output must not look like success. */
static int check_output(const struct cli *cli, int r)
{
	errno = 0;
	if (!fflush(cli->out) && !ferror(cli->out))
		return r;
	return cli_fail(cli, r ? r : SHUNT_CTL_INTERNAL, "cannot write the output: %s",
			strerror(errno ? errno : EIO));
}

int cli_run(int argc, char **argv, FILE *out, FILE *err)
{
	struct cli cli = {
		.out = out,
		.err = err,
		.is_colour = isatty(fileno(out)) == 1 && !getenv("NO_COLOR"),
		.socket = SHUNT_CTL_SOCKET,
		.bpffs = "/sys/fs/bpf/shunt",
		.state_dir = "/var/lib/shunt",
		.timeout_ms = DEFAULT_TIMEOUT_MS,
	};
	struct option_set set = { .short_options = "+:" };
	int r;

	opterr = 0;
	option_set_add(&set, cli_global_flags);
	r = parse(&cli, &set, argc, argv);
	if (r < 0)
		return -r;
	if (r == WANTS_VERSION)
		return cli_version.run(&cli);
	if (r == WANTS_HELP) {
		cli_help(out);
		return 0;
	}
	if (optind >= argc) {
		cli_help(err);
		return SHUNT_CTL_USAGE;
	}
	cli.command = cli_command_find(argv[optind]);
	if (!cli.command)
		return cli_fail(&cli, SHUNT_CTL_USAGE,
				"no command \"%s\": `shunt help` lists the commands", argv[optind]);
	return check_output(&cli, run_command(&cli, argc - optind, argv + optind));
}
