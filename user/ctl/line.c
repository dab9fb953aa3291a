// SPDX-License-Identifier: Apache-2.0
#include "ctl/line.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"

const char *shunt_ctl_code_name(enum shunt_ctl_code code)
{
	switch (code) {
#define CODE_NAME(name, exit_code, text)                                                           \
	case SHUNT_CTL_##name:                                                                     \
		return #name;
		SHUNT_CTL_CODES(CODE_NAME)
#undef CODE_NAME
	}
	return "INTERNAL";
}

int shunt_ctl_code_parse(const char *name)
{
#define CODE_PARSE(code, exit_code, text)                                                          \
	if (!strcmp(name, #code))                                                                  \
		return exit_code;
	SHUNT_CTL_CODES(CODE_PARSE)
#undef CODE_PARSE
	return 0;
}

const char *shunt_ctl_code_text(int code)
{
	switch (code) {
#define CODE_TEXT(name, exit_code, text)                                                           \
	case exit_code:                                                                            \
		return text;
		SHUNT_CTL_CODES(CODE_TEXT)
#undef CODE_TEXT
	}
	return "";
}

/* Members that we do not know are refused: a misspelt one must not be half a command. */
static int check_members(json_t *request, struct shunt_err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach (request, key, value) {
		if (strcmp(key, "command") && strcmp(key, "args"))
			return shunt_err_set(
				err, -EINVAL,
				"a request has \"command\" and \"args\", nothing else");
	}
	return 0;
}

int shunt_ctl_request_parse(const char *line, size_t len, json_t **ret_request,
			    const char **ret_command, json_t **ret_args, struct shunt_err *err)
{
	json_auto_t *request = NULL;
	json_error_t where;
	json_t *command, *args;
	int r;

	request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
	if (!request) {
		/* jansson quotes what stands there, and one sentence is one line. */
		for (char *c = where.text; *c; c++)
			*c = iscntrl((unsigned char)*c) ? '?' : *c;
		return shunt_err_set(err, -EINVAL, "the request is not JSON: %s at byte %d",
				     where.text, where.position);
	}
	if (!json_is_object(request))
		return shunt_err_set(err, -EINVAL, "a request is a JSON object");
	r = check_members(request, err);
	if (r < 0)
		return r;

	command = json_object_get(request, "command");
	if (!json_is_string(command))
		return shunt_err_set(err, -EINVAL, "the request lacks \"command\", a string");
	args = json_object_get(request, "args");
	if (!args) {
		args = json_object();
		if (json_object_set_new(request, "args", args) < 0)
			return shunt_err_set(err, -ENOMEM, "out of memory");
	}
	if (!json_is_object(args))
		return shunt_err_set(err, -EINVAL, "\"args\" is not an object");

	*ret_command = json_string_value(command);
	*ret_args = args;
	*ret_request = TAKE_PTR(request);
	return 0;
}

/* @json is stolen. */
static char *dump_line(json_t *json)
{
	char *text, *line;
	size_t len;

	text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
	json_decref(json);
	if (!text)
		return NULL;

	len = strlen(text);
	line = realloc(text, len + 2);
	if (!line) {
		free(text);
		return NULL;
	}
	line[len] = '\n';
	line[len + 1] = '\0';
	return line;
}

char *shunt_ctl_request_line(const char *command, json_t *args)
{
	if (!args)
		return dump_line(json_pack("{s:s}", "command", command));
	return dump_line(json_pack("{s:s, s:O}", "command", command, "args", args));
}

int shunt_ctl_answer_parse(const char *line, size_t len, json_t **ret_result, int *ret_exit,
			   struct shunt_err *err)
{
	json_auto_t *answer = NULL;
	const char *code, *text;
	json_t *result, *ok;

	*ret_exit = SHUNT_CTL_INTERNAL;
	answer = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	ok = json_object_get(answer, "ok");
	if (!json_is_boolean(ok))
		return shunt_err_set(err, -EBADMSG,
				     "what answers on the socket does not speak shuntd's protocol");

	if (json_is_true(ok)) {
		result = json_object_get(answer, "result");
		*ret_result = result ? json_incref(result) : json_null();
		*ret_exit = 0;
		return 0;
	}

	code = json_string_value(json_object_get(answer, "code"));
	text = json_string_value(json_object_get(answer, "error"));
	if (code && shunt_ctl_code_parse(code))
		*ret_exit = shunt_ctl_code_parse(code);
	return shunt_err_set(err, -EREMOTEIO, "%s",
			     text && *text ? text : shunt_ctl_code_text(*ret_exit));
}

char *shunt_ctl_answer_ok(json_t *result)
{
	return dump_line(json_pack("{s:b, s:O}", "ok", 1, "result", result));
}

char *shunt_ctl_answer_fail(int code, const char *text)
{
	return dump_line(json_pack("{s:b, s:s, s:s}", "ok", 0, "code", shunt_ctl_code_name(code),
				   "error", text));
}
