// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/print.h"

const char *cli_flag(const struct cli *cli, const char *name)
{
	for (int i = cli->n_set - 1; i >= 0; i--) {
		if (!strcmp(cli->set[i].name, name))
			return cli->set[i].value;
	}
	return NULL;
}

int cli_fail(const struct cli *cli, int exit_code, const char *fmt, ...)
{
	CLEANUP(freep) char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		print_tame(text);
	fprintf(cli->err, "shunt: %s\n", text ? text : "out of memory");
	return exit_code;
}

int cli_call(const struct cli *cli, const char *command, json_t *args, int extra_ms,
	     json_t **ret_result)
{
	struct shunt_err err = { 0 };
	char text[1100];
	int r, exit_code;

	r = shunt_ctl_call(cli->socket, command, args, cli->timeout_ms + extra_ms, ret_result,
			   &exit_code, &err);
	json_decref(args);
	if (r < 0)
		return cli_fail(cli, exit_code, "%s", shunt_err_str(&err, text, sizeof(text)));
	return 0;
}

int cli_print_json(const struct cli *cli, const json_t *json)
{
	if (json_dumpf(json, cli->out, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) <
		    0 ||
	    fputc('\n', cli->out) == EOF)
		return SHUNT_CTL_INTERNAL; /* cli_run() says why */
	return 0;
}

int cli_flag_duration(const struct cli *cli, const char *name, int fallback_ms, int *ret_ms)
{
	const char *text = cli_flag(cli, name);
	uint64_t ms = (uint64_t)fallback_ms;

	if (text && shunt_duration_parse(text, &ms) < 0)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"--%s %s: want a time such as 500ms, 60s, 5m or 2h, at most 168h",
				name, text);
	*ret_ms = (int)ms;
	return 0;
}

const char *cli_str(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

long long cli_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

const char *cli_who(long long uid, char *buf)
{
	struct passwd *user = uid >= 0 ? getpwuid((uid_t)uid) : NULL;

	if (uid < 0)
		snprintf(buf, 64, "the manifest");
	else if (user)
		snprintf(buf, 64, "%.60s", user->pw_name);
	else
		snprintf(buf, 64, "uid %lld", uid);
	return buf;
}
