// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int shunt_err_set(struct shunt_err *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return code;

	memset(err, 0, sizeof(*err));
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

const char *shunt_err_str(const struct shunt_err *err, char *buf, unsigned long size)
{
	char where[300] = "";

	if (err->file[0] && err->line && err->column)
		snprintf(where, sizeof(where), "%s:%u:%u: ", err->file, err->line, err->column);
	else if (err->file[0] && err->line)
		snprintf(where, sizeof(where), "%s:%u: ", err->file, err->line);
	else if (err->file[0])
		snprintf(where, sizeof(where), "%s: ", err->file);

	snprintf(buf, size, "%s%s%s%s", where, err->field, err->field[0] ? ": " : "", err->text);
	return buf;
}
