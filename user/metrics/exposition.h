/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_EXPOSITION_H
#define SHUNT_METRICS_EXPOSITION_H

#include <stdio.h>

/* Pieces of the Prometheus text format. */

/* The lines before a series. */
static inline void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Writes name="value" with the escapes of the format. */
static inline void label(FILE *out, char before, const char *name, const char *value)
{
	putc(before, out);
	fputs(name, out);
	fputs("=\"", out);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			putc('\\', out);
		if (*value == '\n')
			fputs("\\n", out);
		else
			putc(*value, out);
	}
	putc('"', out);
}

static inline void variant_labels(FILE *out, const char *namespace_, const char *service,
				  const char *variant)
{
	label(out, '{', "namespace", namespace_);
	label(out, ',', "service", service);
	label(out, ',', "variant", variant);
}

#endif
