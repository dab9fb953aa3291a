/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_CLI_H
#define SHUNT_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "ctl/ctl.h"

/*
 * The operator's command. One table of commands makes dispatch, --help, the man page,
 * docs/cli.md and the completion; each command has a file of its own.
 */

struct cli_flag {
	const char *name;  /* without dashes; NULL ends a list */
	const char *value; /* what its value is called; NULL: a switch */
	const char *help;
	char short_name; /* 0: none */
};

struct cli_example {
	const char *command; /* NULL ends a list */
	const char *text;
};

/* What the shell completes for the arguments. */
enum cli_complete {
	CLI_COMPLETE_NOTHING,
	CLI_COMPLETE_SERVICE,	       /* SERVICE */
	CLI_COMPLETE_SERVICE_VARIANTS, /* SERVICE VARIANT... */
	CLI_COMPLETE_SERVICE_WEIGHTS,  /* SERVICE VARIANT=... */
	CLI_COMPLETE_SERVICE_BREAKER,  /* SERVICE open|close|auto */
	CLI_COMPLETE_FILES,
	CLI_COMPLETE_COMMANDS,
	CLI_COMPLETE_SHELLS,
	CLI_COMPLETE_TRACE, /* words of a filter */
};

struct cli;

struct cli_command {
	const char *name;
	const char *args; /* as in the usage line */
	const char *summary;
	const char *text; /* paragraphs, separated by an empty line */
	const struct cli_flag *flags;
	const struct cli_example *examples;
	int min_args;
	int max_args;	/* -1: any number */
	unsigned exits; /* CLI_EXIT() of those that it has besides 0 and 2 */
	enum cli_complete complete;
	bool hidden;
	int (*run)(struct cli *cli); /* Return: exit code */
};

#define CLI_EXIT(code) (1u << (code))
#define CLI_EXIT_AGENT                                                                             \
	(CLI_EXIT(SHUNT_CTL_UNAVAILABLE) | CLI_EXIT(SHUNT_CTL_PERMISSION) |                        \
	 CLI_EXIT(SHUNT_CTL_INTERNAL))

#define CLI_MAX_FLAGS 32

/* One invocation. */
struct cli {
	const struct cli_command *command;
	FILE *out, *err;
	bool is_json;
	bool is_colour;
	const char *socket, *bpffs, *state_dir;
	int timeout_ms;
	int n_args;
	char **args;
	struct {
		const char *name, *value;
	} set[CLI_MAX_FLAGS]; /* the command's flags, in the order given */
	int n_set;
};

/* Runs `shunt` once. Return: exit code. */
int cli_run(int argc, char **argv, FILE *out, FILE *err);

/* ---- table.c ---- */
extern const struct cli_command *const cli_commands[]; /* ends with NULL */
extern const struct cli_flag cli_global_flags[];
extern const struct cli_example cli_global_examples[];
const struct cli_command *cli_command_find(const char *name);

/* Text of an exit code: 0, 1 and those of ctl.h. */
const char *cli_exit_text(int code);

/* ---- call.c: what the commands share ---- */

/* Return: the last value of a flag, "" for a switch, or NULL if it was not given. */
const char *cli_flag(const struct cli *cli, const char *name);

/* One sentence on stderr. Return: @exit_code. */
int cli_fail(const struct cli *cli, int exit_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * cli_call - ask the agent
 * @args: stolen
 * @extra_ms: longer than --timeout, for commands that wait by nature
 *
 * Return: 0 with a new reference in @ret_result, or the exit code, the sentence printed.
 */
int cli_call(const struct cli *cli, const char *command, json_t *args, int extra_ms,
	     json_t **ret_result);

/* Prints @json. Return: 0, or an exit code if it could not be written. */
int cli_print_json(const struct cli *cli, const json_t *json);

/* Reads a time flag; @fallback_ms if it was not given. Return: 0 or the exit code. */
int cli_flag_duration(const struct cli *cli, const char *name, int fallback_ms, int *ret_ms);

/* The members of an object, "" and 0 if they are missing. */
const char *cli_str(const json_t *object, const char *key);
long long cli_int(const json_t *object, const char *key);

/* "root" or "uid 1000"; "the manifest" for -1. @buf: 64 bytes. */
const char *cli_who(long long uid, char *buf);

/* ---- help.c, man.c, completion.c: the table in other forms ---- */
void cli_help(FILE *out);
void cli_help_command(const struct cli_command *command, FILE *out);
void cli_man(FILE *out);
void cli_markdown(FILE *out);

extern const struct cli_command cli_status, cli_top, cli_compare, cli_weight, cli_switch,
	cli_rollback, cli_history, cli_drain, cli_breaker, cli_explain, cli_trace, cli_check,
	cli_events, cli_doctor, cli_detach, cli_version, cli_help_cmd, cli_completion, cli_complete;

#endif
