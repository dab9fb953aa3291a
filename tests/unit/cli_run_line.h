/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_CLI_RUN_LINE_H
#define TESTS_UNIT_CLI_RUN_LINE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli_lab.h"

/*
 * Runs `shunt` on one line of words, against the agent of @lab; NULL: none is named. The streams
 * are the caller's to free. Inline, for only the CLI's own tests are linked with the CLI.
 *
 * Return: the exit code.
 */
static inline int cli_run_line(const struct cli_lab *lab, const char *line, char **ret_out,
			       char **ret_err)
{
	CLEANUP(freep) char *copy = strdup(line);
	char *argv[64] = { "shunt" };
	size_t out_len, err_len;
	FILE *out, *err;
	int argc = 1, r;

	if (lab) {
		argv[argc++] = "--socket";
		argv[argc++] = (char *)(uintptr_t)fake_agent_socket(lab->agent);
	}
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	out = open_memstream(ret_out, &out_len);
	err = open_memstream(ret_err, &err_len);
	r = cli_run(argc, argv, out, err);
	fclose(out);
	fclose(err);
	return r;
}

#endif
