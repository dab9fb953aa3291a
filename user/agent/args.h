/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_ARGS_H
#define SHUNT_AGENT_ARGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define AGENT_MAX_DEADLINE_MS (7 * 86400000ll)
#define AGENT_MAX_LAST	      1000000

enum agent_arg_type {
	AGENT_ARG_TEXT,	   /* value: const char ** */
	AGENT_ARG_BOOL,	   /* bool * */
	AGENT_ARG_INTEGER, /* json_int_t * */
	AGENT_ARG_OBJECT,  /* json_t **, borrowed */
};

/* One member that "args" of a request may have. */
struct agent_arg {
	const char *name;
	enum agent_arg_type type;
	void *value; /* where it goes; left alone when the request has no such member */
	bool required;
	json_int_t min, max; /* of an integer */
};

/**
 * agent_args_read - the arguments of a command
 * @args:    borrowed; NULL: none
 * @command: for messages
 * @known:   what it takes
 *
 * Return: 0, or -EINVAL with @err naming the member that is missing, unknown, of another type
 * or out of range.
 */
int agent_args_read(const json_t *args, const char *command, const struct agent_arg *known,
		    size_t n, struct shunt_err *err);

#endif
