// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/trace_filter.h"

/*
 * Filters of `shunt trace`: a mistake has one clear line, and what is taken means the same with
 * an "and" behind it. Linked with libFuzzer or with driver.c.
 */
static void check_mistake(const struct shunt_err *err)
{
	if (strncmp(err->text, "filter: ", 8))
		abort();
	for (const char *c = err->text; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shunt_trace_query query, again;
	struct shunt_err err = { 0 };
	char *text = malloc(size + 5);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	memset(&query, 0x5a, sizeof(query));
	if (shunt_trace_query_parse(text, &query, &err) < 0) {
		check_mistake(&err);
		free(text);
		return 0;
	}
	if (strlen(text) + 4 <= SHUNT_TRACE_MAX_FILTER) {
		strcat(text, " and");
		if (shunt_trace_query_parse(text, &again, &err) < 0 ||
		    memcmp(&query, &again, sizeof(query)))
			abort();
	}
	free(text);
	return 0;
}
