// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "cli/cli.h"

/*
 * The completion scripts. Options and commands are written out from the table; names of
 * services and variants are asked of the agent by the hidden command `shunt complete`.
 */

#define BREAKER_WORDS "open close auto"
#define TRACE_WORDS   "tcp udp ip ip6 host src dst port service reason gate new"

static void put_flag_names(FILE *out, const struct cli_flag *flags)
{
	for (; flags && flags->name; flags++)
		fprintf(out, " --%s", flags->name);
}

static void put_commands(FILE *out)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		if (!cli_commands[i]->hidden)
			fprintf(out, " %s", cli_commands[i]->name);
	}
}

/* Shell words for the arguments of a command. $service is the first argument. */
static const char *bash_words(enum cli_complete complete)
{
	switch (complete) {
	case CLI_COMPLETE_SERVICE:
		return "[ -z \"$service\" ] && words=$(_shunt_ask services)";
	case CLI_COMPLETE_SERVICE_VARIANTS:
		return "if [ -z \"$service\" ]; then words=$(_shunt_ask services); "
		       "else words=$(_shunt_ask variants \"$service\"); fi";
	case CLI_COMPLETE_SERVICE_WEIGHTS:
		return "if [ -z \"$service\" ]; then words=$(_shunt_ask services); "
		       "else words=$(_shunt_ask weights \"$service\"); compopt -o nospace; fi";
	case CLI_COMPLETE_SERVICE_BREAKER:
		return "if [ -z \"$service\" ]; then words=$(_shunt_ask services); "
		       "else words='" BREAKER_WORDS "'; fi";
	case CLI_COMPLETE_FILES:
		return "compopt -o default; COMPREPLY=(); return";
	case CLI_COMPLETE_COMMANDS:
		return "words=$commands";
	case CLI_COMPLETE_SHELLS:
		return "words='bash zsh'";
	case CLI_COMPLETE_TRACE:
		return "if [ \"${COMP_WORDS[COMP_CWORD-1]}\" = service ]; "
		       "then words=$(_shunt_ask services); else words='" TRACE_WORDS "'; fi";
	case CLI_COMPLETE_NOTHING:
		break;
	}
	return ":";
}

/* Global options that take a value: the word behind them is no command. */
static void put_valued(FILE *out)
{
	const char *bar = "";

	for (const struct cli_flag *f = cli_global_flags; f->name; f++) {
		if (f->value && f->short_name)
			fprintf(out, "%s-%c", bar, f->short_name);
		if (f->value)
			fprintf(out, "%s--%s", f->short_name ? "|" : bar, f->name);
		if (f->value)
			bar = "|";
	}
}

static void bash(FILE *out)
{
	fputs("# bash completion of shunt, made by `shunt completion bash`\n"
	      "_shunt_ask() { shunt \"${globals[@]}\" complete \"$@\" 2>/dev/null; }\n"
	      "_shunt() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} command= service= words= skip= i word\n"
	      "\tlocal -a globals=()\n"
	      "\tlocal commands='",
	      out);
	put_commands(out);
	fputs("'\n\tlocal flags='", out);
	put_flag_names(out, cli_global_flags);
	fputs("'\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tword=${COMP_WORDS[i]}\n"
	      "\t\tif [ -n \"$skip\" ]; then [ \"$skip\" = --socket ] && "
	      "globals=(--socket \"$word\"); skip=; continue; fi\n"
	      "\t\tcase $word in\n\t\t",
	      out);
	put_valued(out);
	fputs(") skip=$word ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) if [ -z \"$command\" ]; then command=$word; "
	      "elif [ -z \"$service\" ]; then service=$word; fi ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\t[ \"$skip\" = -o ] || [ \"$skip\" = --output ] && "
	      "{ COMPREPLY=($(compgen -W 'table json' -- \"$cur\")); return; }\n"
	      "\tcase $command in\n"
	      "\t'') words=$commands ;;\n",
	      out);
	for (size_t i = 0; cli_commands[i]; i++) {
		if (cli_commands[i]->hidden)
			continue;
		fprintf(out, "\t%s) flags+='", cli_commands[i]->name);
		put_flag_names(out, cli_commands[i]->flags);
		fprintf(out, "'; [[ $cur == -* ]] || { %s; } ;;\n",
			bash_words(cli_commands[i]->complete));
	}
	fputs("\tesac\n"
	      "\t[[ $cur == -* ]] && words=$flags\n"
	      "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "}\n"
	      "complete -F _shunt shunt\n",
	      out);
}

static const char *zsh_words(enum cli_complete complete)
{
	switch (complete) {
	case CLI_COMPLETE_SERVICE:
		return "(( $#args )) || compadd -- $(_shunt_ask services)";
	case CLI_COMPLETE_SERVICE_VARIANTS:
		return "if (( $#args )); then compadd -- $(_shunt_ask variants $args[1]); "
		       "else compadd -- $(_shunt_ask services); fi";
	case CLI_COMPLETE_SERVICE_WEIGHTS:
		return "if (( $#args )); then compadd -S '' -- $(_shunt_ask weights $args[1]); "
		       "else compadd -- $(_shunt_ask services); fi";
	case CLI_COMPLETE_SERVICE_BREAKER:
		return "if (( $#args )); then compadd -- " BREAKER_WORDS "; "
		       "else compadd -- $(_shunt_ask services); fi";
	case CLI_COMPLETE_FILES:
		return "_files";
	case CLI_COMPLETE_COMMANDS:
		return "compadd -- $=commands";
	case CLI_COMPLETE_SHELLS:
		return "compadd -- bash zsh";
	case CLI_COMPLETE_TRACE:
		return "if [[ ${words[CURRENT-1]} = service ]]; then compadd -- $(_shunt_ask "
		       "services); else compadd -- " TRACE_WORDS "; fi";
	case CLI_COMPLETE_NOTHING:
		break;
	}
	return ":";
}

static void zsh(FILE *out)
{
	fputs("#compdef shunt\n"
	      "# zsh completion of shunt, made by `shunt completion zsh`\n"
	      "_shunt_ask() { shunt $globals complete \"$@\" 2>/dev/null; }\n"
	      "_shunt() {\n"
	      "\tlocal command= skip= word\n"
	      "\tlocal -a globals=() args=()\n"
	      "\tlocal commands='",
	      out);
	put_commands(out);
	fputs("' flags='", out);
	put_flag_names(out, cli_global_flags);
	fputs("'\n"
	      "\tfor word in ${words[2,CURRENT-1]}; do\n"
	      "\t\tif [[ -n $skip ]]; then [[ $skip = --socket ]] && globals=(--socket $word); "
	      "skip=; continue; fi\n"
	      "\t\tcase $word in\n\t\t(",
	      out);
	put_valued(out);
	fputs(") skip=$word ;;\n"
	      "\t\t(-*) ;;\n"
	      "\t\t(*) if [[ -z $command ]]; then command=$word; else args+=($word); fi ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\t[[ $skip = (-o|--output) ]] && { compadd -- table json; return; }\n"
	      "\tcase $command in\n"
	      "\t('') [[ $PREFIX = -* ]] || compadd -- $=commands ;;\n",
	      out);
	for (size_t i = 0; cli_commands[i]; i++) {
		if (cli_commands[i]->hidden)
			continue;
		fprintf(out, "\t(%s) flags+='", cli_commands[i]->name);
		put_flag_names(out, cli_commands[i]->flags);
		fprintf(out, "'; [[ $PREFIX = -* ]] || { %s; } ;;\n",
			zsh_words(cli_commands[i]->complete));
	}
	fputs("\tesac\n"
	      "\t[[ $PREFIX = -* ]] && compadd -- $=flags\n"
	      "}\n"
	      "compdef _shunt shunt\n",
	      out);
}

static int run_completion(struct cli *cli)
{
	if (!strcmp(cli->args[0], "bash"))
		bash(cli->out);
	else if (!strcmp(cli->args[0], "zsh"))
		zsh(cli->out);
	else
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"no completion for %s: there are bash and zsh", cli->args[0]);
	return 0;
}

static const struct cli_example completion_examples[] = {
	{ "shunt completion bash >/etc/bash_completion.d/shunt", "install it for everybody" },
	{ "source <(shunt completion zsh)", "use it in this shell" },
	{ 0 },
};

const struct cli_command cli_completion = {
	.name = "completion",
	.args = "bash|zsh",
	.summary = "print a completion script for a shell",
	.text = "Prints a script that completes commands, options, and the names of services and "
		"variants, which it asks of the agent.",
	.examples = completion_examples,
	.min_args = 1,
	.max_args = 1,
	.complete = CLI_COMPLETE_SHELLS,
	.run = run_completion,
};

/* ---- the hidden command that the scripts ask ----------------------------------------------- */

static void put_services(const struct cli *cli, const json_t *services)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service)
		fprintf(cli->out, "%s/%s\n", cli_str(service, "namespace"),
			cli_str(service, "name"));
}

static int run_complete(struct cli *cli)
{
	const json_t *service, *variant;
	json_auto_t *status = NULL;
	bool is_weight = !strcmp(cli->args[0], "weights");
	size_t i, j;
	int r;

	r = cli_call(cli, "status",
		     cli->n_args > 1 ? json_pack("{s:s}", "service", cli->args[1]) : NULL, 0,
		     &status);
	if (r)
		return r;
	if (!strcmp(cli->args[0], "services")) {
		put_services(cli, json_object_get(status, "services"));
		return 0;
	}
	json_array_foreach (json_object_get(status, "services"), i, service) {
		json_array_foreach (json_object_get(service, "variants"), j, variant)
			fprintf(cli->out, "%s%s\n", cli_str(variant, "name"), is_weight ? "=" : "");
	}
	return 0;
}

const struct cli_command cli_complete = {
	.name = "complete",
	.args = "services|variants|weights [SERVICE]",
	.summary = "words for the completion scripts",
	.text = "",
	.min_args = 1,
	.max_args = 2,
	.exits = CLI_EXIT_AGENT | CLI_EXIT(SHUNT_CTL_NOT_FOUND),
	.hidden = true,
	.run = run_complete,
};
