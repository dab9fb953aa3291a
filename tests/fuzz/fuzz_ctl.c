// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/line.h"

/*
 * Both kinds of lines of the control protocol. A request that is taken must survive being
 * written and read again. Linked with libFuzzer or with driver.c.
 */

static void fuzz_request(const char *line, size_t len)
{
	json_t *request = NULL, *again = NULL, *args, *args_again;
	const char *command, *command_again;
	struct shunt_err err = { 0 };
	char *text;

	if (shunt_ctl_request_parse(line, len, &request, &command, &args, &err) < 0) {
		if (!*err.text || strchr(err.text, '\n'))
			abort();
		return;
	}
	text = shunt_ctl_request_line(command, args);
	if (!text || strchr(text, '\n') != text + strlen(text) - 1)
		abort();
	if (shunt_ctl_request_parse(text, strlen(text) - 1, &again, &command_again, &args_again,
				    &err) < 0 ||
	    strcmp(command, command_again) || !json_equal(args, args_again))
		abort();
	free(text);
	json_decref(again);
	json_decref(request);
}

static void fuzz_answer(const char *line, size_t len)
{
	struct shunt_err err = { 0 };
	json_t *result = NULL;
	int exit_code = -1;
	int r = shunt_ctl_answer_parse(line, len, &result, &exit_code, &err);

	if ((r == 0) != (exit_code == 0) || (r == 0) != (result != NULL) || exit_code < 0)
		abort();
	json_decref(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_request((const char *)data, size);
	fuzz_answer((const char *)data, size);
	return 0;
}
