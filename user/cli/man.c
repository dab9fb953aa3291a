// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/version.h"
#include "cli/cli.h"

/* Text of troff: backslashes and leading dots mean something there, and dashes are hyphens. */
static void put(FILE *out, const char *text)
{
	bool at_line_start = true;

	for (; *text; text++) {
		if (at_line_start && (*text == '.' || *text == '\''))
			fputs("\\&", out);
		at_line_start = *text == '\n';
		if (!strncmp(text, "\n\n", 2)) {
			fputs("\n.PP\n", out);
			text++;
		} else if (*text == '\\') {
			fputs("\\e", out);
		} else if (*text == '-') {
			fputs("\\-", out);
		} else {
			fputc(*text, out);
		}
	}
}

static void put_flags(FILE *out, const struct cli_flag *flags)
{
	for (; flags && flags->name; flags++) {
		fputs(".TP\n", out);
		if (flags->short_name)
			fprintf(out, "\\fB\\-%c\\fR, ", flags->short_name);
		fputs("\\fB\\-\\-", out);
		put(out, flags->name);
		fputs("\\fR", out);
		if (flags->value) {
			fputs(" \\fI", out);
			put(out, flags->value);
			fputs("\\fR", out);
		}
		fputc('\n', out);
		put(out, flags->help);
		fputc('\n', out);
	}
}

static void put_command(FILE *out, const struct cli_command *command)
{
	fputs(".SS \"shunt ", out);
	put(out, command->name);
	fputs(*command->args ? " " : "", out);
	put(out, command->args);
	fputs("\"\n", out);
	put(out, command->text);
	fputc('\n', out);
	put_flags(out, command->flags);
	for (const struct cli_example *e = command->examples; e && e->command; e++) {
		fputs(".PP\n.nf\n\\fB", out);
		put(out, e->command);
		fputs("\\fR\n.fi\n.RS 4\n", out);
		put(out, e->text);
		fputs("\n.RE\n", out);
	}
}

static void put_exits(FILE *out)
{
	fputs(".SH EXIT STATUS\n", out);
	for (int code = 0; code < 16; code++) {
		if (!*cli_exit_text(code))
			continue;
		fprintf(out, ".TP\n\\fB%d\\fR\n", code);
		put(out, cli_exit_text(code));
		fputc('\n', out);
	}
}

void cli_man(FILE *out)
{
	fprintf(out,
		".\\\" SPDX-License-Identifier: Apache-2.0\n"
		".\\\" Made by `shunt help --man` from the command table.\n"
		".\\\" SPDX-License-Identifier: Apache-2.0\n"
		".TH SHUNT 8 \"\" \"shunt %s\" \"System Administration\"\n"
		".SH NAME\nshunt \\- look at and change how Shunt splits traffic\n"
		".SH SYNOPSIS\n.B shunt\n[\\fIOPTION\\fR...] \\fICOMMAND\\fR "
		"[\\fIARGUMENT\\fR...]\n.SH DESCRIPTION\n",
		SHUNT_VERSION);
	put(out,
	    "Shunt splits the connections to Kubernetes services between weighted variants, "
	    "in the kernel. shunt talks to its node agent, shuntd, over a unix socket; explain, "
	    "doctor and detach also work on the pinned maps when no agent runs.\n");
	fputs(".SH OPTIONS\n", out);
	put_flags(out, cli_global_flags);
	fputs(".SH COMMANDS\n", out);
	for (size_t i = 0; cli_commands[i]; i++) {
		if (!cli_commands[i]->hidden)
			put_command(out, cli_commands[i]);
	}
	put_exits(out);
	fputs(".SH SEE ALSO\n.BR shuntd (8),\n.BR bpftool (8)\n", out);
}
