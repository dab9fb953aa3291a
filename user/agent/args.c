// SPDX-License-Identifier: Apache-2.0
#include "agent/args.h"

#include <errno.h>
#include <string.h>

static const struct agent_arg *find(const struct agent_arg *known, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(known[i].name, name))
			return &known[i];
	return NULL;
}

/* "weight: unknown argument prot; it takes service, weights, port" */
static int fail_unknown(const char *command, const char *name, const struct agent_arg *known,
			size_t n, struct shunt_err *err)
{
	size_t len;

	shunt_err_set(err, -EINVAL, "%s: unknown argument %.64s; it takes %s", command, name,
		      n ? "" : "none");
	len = strlen(err->text);
	for (size_t i = 0; i < n && len < sizeof(err->text); i++)
		len += snprintf(err->text + len, sizeof(err->text) - len, "%s%s", i ? ", " : "",
				known[i].name);
	return -EINVAL;
}

static int read_integer(const char *command, const struct agent_arg *arg, const json_t *value,
			struct shunt_err *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < arg->min || number > arg->max)
		return shunt_err_set(err, -EINVAL, "%s: %s must be an integer from %lld to %lld",
				     command, arg->name, (long long)arg->min, (long long)arg->max);
	*(json_int_t *)arg->value = number;
	return 0;
}

static int read_arg(const char *command, const struct agent_arg *arg, json_t *value,
		    struct shunt_err *err)
{
	const char *want = NULL;

	switch (arg->type) {
	case AGENT_ARG_INTEGER:
		return read_integer(command, arg, value, err);
	case AGENT_ARG_TEXT:
		if (json_is_string(value))
			*(const char **)arg->value = json_string_value(value);
		else
			want = "a string";
		break;
	case AGENT_ARG_BOOL:
		if (json_is_boolean(value))
			*(bool *)arg->value = json_is_true(value);
		else
			want = "true or false";
		break;
	case AGENT_ARG_OBJECT:
		if (json_is_object(value))
			*(json_t **)arg->value = value;
		else
			want = "an object";
		break;
	}
	if (want)
		return shunt_err_set(err, -EINVAL, "%s: %s must be %s", command, arg->name, want);
	return 0;
}

int agent_args_read(const json_t *args, const char *command, const struct agent_arg *known,
		    size_t n, struct shunt_err *err)
{
	const char *name;
	json_t *value;
	int r;

	json_object_foreach ((json_t *)args, name, value) {
		const struct agent_arg *arg = find(known, n, name);

		r = arg ? read_arg(command, arg, value, err)
			: fail_unknown(command, name, known, n, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < n; i++)
		if (known[i].required && !json_object_get(args, known[i].name))
			return shunt_err_set(err, -EINVAL, "%s: %s is required", command,
					     known[i].name);
	return 0;
}
