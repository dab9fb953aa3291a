// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "cli/cli.h"

static char *printed(char *line)
{
	char *argv[8] = { "shunt" }, *out;
	size_t len;
	int argc = 1;
	FILE *file = open_memstream(&out, &len);

	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	cr_assert_eq(cli_run(argc, argv, file, stderr), 0);
	fclose(file);
	return out;
}

static char *slurp(const char *path)
{
	CLEANUP(file_closep) FILE *file = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	cr_assert(file, "%s is missing", path);
	cr_assert_lt(fread(text, 1, (1 << 20) - 1, file), (1 << 20) - 1);
	return text;
}

/* Feeds @text to a program. Return: its exit status; what it says goes to stderr. */
static int feed(const char *program, const char *text)
{
	FILE *pipe = popen(program, "w");

	cr_assert(pipe);
	fputs(text, pipe);
	return WEXITSTATUS(pclose(pipe));
}

Test(cli_docs, the_page_in_docs_is_what_the_table_says)
{
	CLEANUP(freep) char *want = printed((char[]){ "help --markdown" });
	CLEANUP(freep) char *page = slurp("docs/cli.md");

	cr_assert(!strcmp(page, want), "docs/cli.md is old: run `make cli-docs`");
}

Test(cli_docs, the_page_names_every_command_and_exit_code)
{
	CLEANUP(freep) char *page = printed((char[]){ "help --markdown" });
	char title[64];

	for (size_t i = 0; cli_commands[i]; i++) {
		snprintf(title, sizeof(title), "\n## shunt %s", cli_commands[i]->name);
		cr_assert(!strstr(page, title) == cli_commands[i]->hidden, "%s",
			  cli_commands[i]->name);
	}
	for (int code = 0; code <= SHUNT_CTL_INTERNAL; code++) {
		snprintf(title, sizeof(title), "\n| %d | ", code);
		cr_assert(strstr(page, title), "exit code %d", code);
	}
}

Test(cli_docs, no_two_flags_of_a_command_have_one_name)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		for (const struct cli_flag *f = cli_commands[i]->flags; f && f->name; f++) {
			for (const struct cli_flag *g = f + 1; g->name; g++)
				cr_assert(strcmp(f->name, g->name) &&
					  (!f->short_name || f->short_name != g->short_name));
			for (const struct cli_flag *g = cli_global_flags; g->name; g++)
				cr_assert(
					strcmp(f->name, g->name) &&
						(!f->short_name || f->short_name != g->short_name),
					"%s --%s", cli_commands[i]->name, f->name);
		}
	}
}

Test(cli_docs, the_page_in_man_is_what_the_table_says)
{
	CLEANUP(freep) char *want = printed((char[]){ "help --man" });
	CLEANUP(freep) char *page = slurp("man/shunt.8");

	cr_assert(!strcmp(page, want), "man/shunt.8 is old: run `make man`");
}

Test(cli_docs, the_manual_page_is_good_troff)
{
	CLEANUP(freep) char *page = printed((char[]){ "help --man" });

	/* troff says nothing when all is well; grep turns a word of it into a failure. */
	cr_assert_eq(feed("! groff -man -Tutf8 -ww -z 2>&1 | grep .", page), 0);
	cr_assert(strstr(page, ".SS \"shunt weight SERVICE [VARIANT=WEIGHT...]\""), "%s", page);
}

Test(cli_docs, bash_takes_the_completion_script)
{
	CLEANUP(freep) char *script = printed((char[]){ "completion bash" });
	CLEANUP(freep) char *test = NULL;

	cr_assert_eq(feed("bash -n", script), 0);
	cr_assert_gt(
		asprintf(&test,
			 "%s\nCOMP_WORDS=(shunt -o json wei); COMP_CWORD=3; _shunt; "
			 "[ \"${COMPREPLY[*]}\" = weight ] || exit 1\n"
			 "COMP_WORDS=(shunt drain a b --un); COMP_CWORD=4; _shunt; "
			 "[ \"${COMPREPLY[*]}\" = --undo ] || exit 2\n"
			 "shunt() { echo \"$*\"; }\n"
			 "COMP_WORDS=(shunt --socket /x switch a ''); COMP_CWORD=5; _shunt; "
			 "[ \"${COMPREPLY[*]}\" = '--socket /x complete variants a' ] || exit 3\n",
			 script),
		0);
	cr_assert_eq(feed("bash", test), 0);
}
