// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "cli/cli.h"
#include "cli/print.h"

#define WIDTH	    80
#define HELP_COLUMN 26

static void flag_title(const struct cli_flag *flag, char *buf, size_t size)
{
	char short_text[8] = "";

	if (flag->short_name)
		snprintf(short_text, sizeof(short_text), "-%c, ", flag->short_name);
	snprintf(buf, size, "%s--%s%s%s", short_text, flag->name, flag->value ? " " : "",
		 flag->value ? flag->value : "");
}

static void put_flags(FILE *out, const struct cli_flag *flags)
{
	char title[64];
	int at;

	for (; flags && flags->name; flags++) {
		flag_title(flags, title, sizeof(title));
		at = fprintf(out, "  %s", title);
		if (at > HELP_COLUMN - 1) {
			fputc('\n', out);
			at = 0;
		}
		print_wrapped(out, flags->help, at, HELP_COLUMN, WIDTH);
	}
}

static void put_examples(FILE *out, const struct cli_example *examples)
{
	for (; examples && examples->command; examples++)
		fprintf(out, "  %s\n      %s\n", examples->command, examples->text);
}

static void put_exits(FILE *out, unsigned exits)
{
	for (int code = 0; code < 16; code++) {
		if (exits & CLI_EXIT(code))
			fprintf(out, "  %d  %s\n", code, cli_exit_text(code));
	}
}

/* Every command ends with 0 or, for a wrong command line, with 2. */
static unsigned all_exits(const struct cli_command *command)
{
	return command->exits | CLI_EXIT(0) | CLI_EXIT(SHUNT_CTL_USAGE);
}

static void put_paragraphs(FILE *out, const char *text)
{
	while (*text) {
		text = print_wrapped(out, text, 0, 0, WIDTH);
		if (*text)
			fputc('\n', out);
	}
}

void cli_help_command(const struct cli_command *command, FILE *out)
{
	fprintf(out, "shunt %s%s%s\n  %s\n\n", command->name, *command->args ? " " : "",
		command->args, command->summary);
	put_paragraphs(out, command->text);
	if (command->flags) {
		fprintf(out, "\nOptions:\n");
		put_flags(out, command->flags);
	}
	fprintf(out, "\nGlobal options:\n");
	put_flags(out, cli_global_flags);
	if (command->examples) {
		fprintf(out, "\nExamples:\n");
		put_examples(out, command->examples);
	}
	fprintf(out, "\nExit codes:\n");
	put_exits(out, all_exits(command));
}

void cli_help(FILE *out)
{
	fprintf(out, "Usage: shunt [OPTION...] COMMAND [ARGUMENT...]\n\n"
		     "Splits Kubernetes traffic in the kernel: looks at it and changes it.\n\n"
		     "Commands:\n");
	for (size_t i = 0; cli_commands[i]; i++) {
		if (!cli_commands[i]->hidden)
			fprintf(out, "  %-12s%s\n", cli_commands[i]->name,
				cli_commands[i]->summary);
	}
	fprintf(out, "\nOptions:\n");
	put_flags(out, cli_global_flags);
	fprintf(out, "\nExamples:\n");
	put_examples(out, cli_global_examples);
	fprintf(out, "\n`shunt help COMMAND` tells more about one.\n");
}

/* ---- docs/cli.md ------------------------------------------------------------------------- */

static void markdown_flags(FILE *out, const struct cli_flag *flags)
{
	char title[64];

	if (!flags)
		return;
	fprintf(out, "\n| option | |\n|---|---|\n");
	for (; flags->name; flags++) {
		flag_title(flags, title, sizeof(title));
		/* A bar inside of a cell would end it. */
		fputs("| `", out);
		for (const char *c = title; *c; c++)
			fprintf(out, *c == '|' ? "\\%c" : "%c", *c);
		fprintf(out, "` | %s |\n", flags->help);
	}
}

static void markdown_command(FILE *out, const struct cli_command *command)
{
	const struct cli_example *e;
	const char *comma = "";

	fprintf(out, "\n## shunt %s%s%s\n\n%c%s.\n\n%s\n", command->name, *command->args ? " " : "",
		command->args, command->summary[0] & ~0x20, command->summary + 1, command->text);
	markdown_flags(out, command->flags);
	if (command->examples)
		fprintf(out, "\n```\n");
	for (e = command->examples; e && e->command; e++)
		fprintf(out, "%s\n    # %s\n", e->command, e->text);
	if (command->examples)
		fprintf(out, "```\n");
	fprintf(out, "\nExit codes: ");
	for (int code = 0; code < 16; code++) {
		if (!(all_exits(command) & CLI_EXIT(code)))
			continue;
		fprintf(out, "%s%d", comma, code);
		comma = ", ";
	}
	fprintf(out, ".\n");
}

void cli_markdown(FILE *out)
{
	fprintf(out,
		"<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
		"<!-- Made by `shunt help --markdown` from the command table: do not edit. -->\n"
		"# shunt, the command line\n\n"
		"`shunt [OPTION...] COMMAND [ARGUMENT...]`; options may stand anywhere.\n");
	markdown_flags(out, cli_global_flags);
	fprintf(out, "\n| exit code | meaning |\n|---|---|\n");
	for (int code = 0; code < 16; code++) {
		if (*cli_exit_text(code))
			fprintf(out, "| %d | %s |\n", code, cli_exit_text(code));
	}
	for (size_t i = 0; cli_commands[i]; i++) {
		if (!cli_commands[i]->hidden)
			markdown_command(out, cli_commands[i]);
	}
}
