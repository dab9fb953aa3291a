// SPDX-License-Identifier: Apache-2.0
#include "source/yaml/scalar.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_one_of(const char *text, const char *const *words)
{
	while (*words && strcmp(*words, text))
		words++;
	return *words;
}

/* All of @text[@from..] in @set, and at least one of it? */
static bool only(const char *text, size_t from, const char *set)
{
	return text[from] && !text[from + strspn(text + from, set)];
}

static bool is_integer(const char *text, int *ret_base)
{
	size_t sign = *text == '-' || *text == '+';

	*ret_base = 10;
	if (only(text, sign, "0123456789"))
		return true;
	if (!strncmp(text, "0o", 2) && only(text, 2, "01234567"))
		*ret_base = 8;
	else if (!strncmp(text, "0x", 2) && only(text, 2, "0123456789abcdefABCDEF"))
		*ret_base = 16;
	return *ret_base != 10;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(const char *text)
{
	static const char digits[] = "0123456789";
	size_t whole, fraction = 0;

	text += *text == '-' || *text == '+';
	whole = strspn(text, digits);
	text += whole;
	if (*text == '.') {
		fraction = strspn(text + 1, digits);
		text += 1 + fraction;
	}
	if (!whole && !fraction)
		return false;
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '-' || *text == '+';
		return only(text, 0, digits);
	}
	return !*text;
}

static bool is_infinite(const char *text)
{
	static const char *const words[] = { ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL };

	return is_one_of(text + (*text == '-' || *text == '+'), words);
}

json_t *shunt_yaml_plain(const char *text, size_t len)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", NULL };
	int base;

	if (is_one_of(text, nulls))
		return json_null();
	if (is_one_of(text, trues))
		return json_true();
	if (is_one_of(text, falses))
		return json_false();
	if (is_infinite(text))
		return NULL;
	if (is_integer(text, &base)) {
		long long value;

		errno = 0;
		value = strtoll(text + (base == 10 ? 0 : 2), NULL, base);
		return errno ? json_real(strtod(text, NULL)) : json_integer(value);
	}
	if (is_float(text)) {
		double value = strtod(text, NULL);

		return isfinite(value) ? json_real(value) : NULL;
	}
	return json_stringn(text, len);
}
