// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dialect/resolve.h"

void shunt_notes_add(struct shunt_notes *notes, const char *reason,
		     const struct shunt_object *object, const json_t *json, const char *path,
		     const char *fmt, ...)
{
	size_t len = strlen(notes->text);
	struct shunt_err err;
	char sentence[400], line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	shunt_object_err(&err, 0, object, json, path, "%s", sentence);
	shunt_err_str(&err, line, sizeof(line));

	if (!notes->n++)
		notes->reason = reason;
	/* The first ones whole; the number at the end tells of the rest. */
	if (len + strlen(line) + 3 < sizeof(notes->text))
		snprintf(notes->text + len, sizeof(notes->text) - len, "%s%s", len ? "; " : "",
			 line);
}

int shunt_notes_set(const struct shunt_notes *notes, struct shunt_conditions *conditions,
		    const char *type, const char *status)
{
	char count[40] = "";

	if (!notes->n)
		return 0;
	if (notes->n > 1)
		snprintf(count, sizeof(count), " (%zu in all)", notes->n);
	return shunt_conditions_set(conditions, type, status, notes->reason, "%s%s", notes->text,
				    count);
}
