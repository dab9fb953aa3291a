// SPDX-License-Identifier: Apache-2.0
#include "dialect/values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/expression.h"
#include "policy/rate.h"

/* ---- times ---------------------------------------------------------------------------------- */

#define NS_PER_MS 1000000ull
#define MAX_NS	  (1ull << 62)

static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
	/* The longer ones first. */
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\u00b5s", 1000 },
	{ "\u03bcs", 1000 },
	{ "ms", NS_PER_MS },
	{ "s", 1000000000ull },
	{ "m", 60000000000ull },
	{ "h", 3600000000000ull },
};

/* Takes the unit at *@text. Return: its ns, or 0. */
static uint64_t take_unit(const char **text)
{
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		size_t len = strlen(units[i].name);

		if (strncmp(*text, units[i].name, len))
			continue;
		*text += len;
		return units[i].ns;
	}
	return 0;
}

/* Takes "12" or "1.5" at *@text, as whole part and billionths. Return: whether it is there. */
static bool take_number(const char **text, uint64_t *ret_whole, uint64_t *ret_billionths)
{
	size_t whole = strspn(*text, "0123456789"), decimals = 0;
	uint64_t scale = 1000000000;

	*ret_whole = 0;
	*ret_billionths = 0;
	for (size_t i = 0; i < whole; i++)
		*ret_whole = *ret_whole < MAX_NS ? *ret_whole * 10 + ((*text)[i] - '0') : MAX_NS;
	*text += whole;
	if (**text == '.') {
		decimals = strspn(*text + 1, "0123456789");
		for (size_t i = 1; i <= decimals && scale > 1; i++) {
			scale /= 10;
			*ret_billionths += ((*text)[i] - '0') * scale;
		}
		*text += 1 + decimals;
	}
	return whole + decimals;
}

/* A duration as Go has it. Return: 0, -EINVAL, or -ERANGE: more than it has room for. */
static int parse_go(const char *text, uint64_t *ret_ns)
{
	unsigned __int128 sum = 0;

	if (!strcmp(text, "0")) {
		*ret_ns = 0;
		return 0;
	}
	do {
		uint64_t whole, billionths, unit;

		if (!take_number(&text, &whole, &billionths))
			return -EINVAL;
		unit = take_unit(&text);
		if (!unit)
			return -EINVAL;
		sum += (unsigned __int128)whole * unit;
		sum += (unsigned __int128)billionths * unit / 1000000000;
		if (sum > MAX_NS)
			return -ERANGE;
	} while (*text);
	*ret_ns = sum;
	return 0;
}

/* ([0-9]{1,5}(h|m|s|ms)){1,4}, of which anything is also one of Go's. */
static bool is_gateway(const char *text)
{
	for (int i = 0; *text; i++) {
		size_t digits = strspn(text, "0123456789");

		if (i == 4 || !digits || digits > 5)
			return false;
		text += digits;
		if (!strncmp(text, "ms", 2))
			text += 2;
		else if (*text && strchr("hms", *text))
			text++;
		else
			return false;
	}
	return true;
}

/* What is wrong with a text that is no duration. Return: -EINVAL. */
static int not_a_time(const struct shunt_node *at, enum shunt_duration_style style,
		      const char *text)
{
	if (*text == '-')
		return shunt_field_error(at, -EINVAL, NULL, "\"%.40s\": must not be negative",
					 text);
	return shunt_field_error(at, -EINVAL, NULL, "\"%.40s\" is not a time such as %s", text,
				 style == SHUNT_DURATION_GATEWAY
					 ? "\"10s\", \"500ms\" or \"1h30m\""
					 : "\"10s\", \"500ms\" or \"1.5h\"");
}

static int read_seconds(const struct shunt_node *at, int64_t seconds, uint64_t *ret_ns)
{
	if (seconds < 0)
		return shunt_field_error(at, -EINVAL, NULL, "%lld s: must not be negative",
					 (long long)seconds);
	*ret_ns = (uint64_t)seconds < MAX_NS / 1000000000 ? seconds * 1000000000ull : MAX_NS;
	return 0;
}

static int read_ns(const struct shunt_node *at, enum shunt_duration_style style, uint64_t *ret_ns)
{
	const char *text = "";
	int r;

	if (style == SHUNT_DURATION_TRAEFIK && json_is_integer(at->json))
		return read_seconds(at, json_integer_value(at->json), ret_ns);
	if (json_is_number(at->json))
		return shunt_field_error(at, -EINVAL, NULL,
					 "must be a string with a unit, such as \"10s\"");
	r = shunt_field_text(at, &text);
	if (r < 0)
		return r;
	if (style == SHUNT_DURATION_TRAEFIK && *text && strlen(text) < 10 &&
	    strspn(text, "0123456789") == strlen(text))
		return read_seconds(at, strtoll(text, NULL, 10), ret_ns);
	if (style == SHUNT_DURATION_GATEWAY && !is_gateway(text))
		return not_a_time(at, style, text);
	r = parse_go(text, ret_ns);
	if (r == -EINVAL)
		return not_a_time(at, style, text);
	if (r == -ERANGE)
		*ret_ns = MAX_NS;
	return 0;
}

int shunt_field_duration(const struct shunt_node *node, const char *key,
			 enum shunt_duration_style style, uint64_t min_ms, uint64_t max_ms,
			 uint64_t *ret_ms)
{
	struct shunt_node at;
	uint64_t ns = 0;
	int r = shunt_field_any(node, key, &at);

	if (r <= 0)
		return r;
	r = read_ns(&at, style, &ns);
	if (r < 0)
		return r;
	if (ns < min_ms * NS_PER_MS || ns > max_ms * NS_PER_MS)
		return shunt_field_error(&at, -EINVAL, NULL,
					 "the time is not between %llu ms and %llu ms",
					 (unsigned long long)min_ms, (unsigned long long)max_ms);
	if (ns % NS_PER_MS)
		return shunt_field_error(&at, -EINVAL, NULL,
					 "Shunt counts in whole milliseconds: round it");
	*ret_ms = ns / NS_PER_MS;
	return 1;
}

int shunt_field_duration_32(const struct shunt_node *node, const char *key,
			    enum shunt_duration_style style, uint32_t min_ms, uint32_t max_ms,
			    uint32_t *ret_ms)
{
	uint64_t ms;
	int r = shunt_field_duration(node, key, style, min_ms, max_ms, &ms);

	if (r > 0)
		*ret_ms = ms;
	return r;
}

/* ---- numbers and words ---------------------------------------------------------------------- */

int shunt_field_int_32(const struct shunt_node *node, const char *key, uint32_t min, uint32_t max,
		       uint32_t *ret_value)
{
	int64_t value;
	int r = shunt_field_int(node, key, min, max, &value);

	if (r > 0)
		*ret_value = value;
	return r;
}

int shunt_field_word(const struct shunt_node *node, const char *key, const char *const *words,
		     size_t n, unsigned *ret_index)
{
	char list[120] = "";
	const char *text = "";
	size_t len = 0;
	int r = shunt_field_string(node, key, &text);

	if (r <= 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(words[i], text)) {
			*ret_index = i;
			return 1;
		}
		len += snprintf(list + len, sizeof(list) - len, "%s%s",
				!i	     ? ""
				: i + 1 == n ? " or "
					     : ", ",
				words[i]);
	}
	return shunt_field_error(node, -EINVAL, key, "\"%.40s\" is not %s", text, list);
}

int shunt_field_variant(const struct shunt_node *node, const char *key, char *buf)
{
	const char *text = "";
	int r = shunt_field_label(node, key, &text);

	if (r > 0)
		snprintf(buf, SHUNT_NAME_LEN, "%s", text);
	return r;
}

/* ---- addresses ------------------------------------------------------------------------------ */

/* A prefix of ::ffff:0:0/96 means IPv4 addresses, and would match none of them. */
static bool is_v4_mapped(const struct shunt_cidr *cidr)
{
	const __be32 *word = cidr->net.addr.word_be;

	return cidr->net.family == SHUNT_V6 && !word[0] && !word[1] && word[2] == htonl(0xffff);
}

static int read_cidr(const struct shunt_node *at, struct shunt_cidr *ret_cidr)
{
	const char *text = "";
	int r = shunt_field_text(at, &text);

	if (r < 0)
		return r;
	if (shunt_cidr_parse(text, ret_cidr) < 0)
		return shunt_field_error(at, -EINVAL, NULL,
					 "\"%.60s\" is not ADDRESS/LENGTH: 10.0.0.0/8 (0..32), "
					 "2001:db8::/32 (0..128)",
					 text);
	if (is_v4_mapped(ret_cidr))
		return shunt_field_error(at, -EINVAL, NULL, "%.60s: write the IPv4 addresses",
					 text);
	return 0;
}

int shunt_field_cidrs(const struct shunt_node *node, const char *key, struct shunt_cidrs *cidrs)
{
	struct shunt_node list, item;
	struct shunt_cidr cidr;
	int r = shunt_field_list(node, key, &list);
	size_t n;

	if (r <= 0)
		return r;
	n = shunt_field_length(&list);
	if (!n || n > SHUNT_MAX_SOURCE_RANGES)
		return shunt_field_error(&list, -EINVAL, NULL,
					 "must name 1..%d addresses or prefixes, not %zu",
					 SHUNT_MAX_SOURCE_RANGES, n);
	for (size_t i = 0; i < n; i++) {
		item = shunt_field_item(&list, i);
		r = read_cidr(&item, &cidr);
		if (!r)
			r = shunt_cidrs_add(cidrs, &cidr);
		if (r < 0)
			return r;
	}
	return 1;
}

/* ---- compiled ------------------------------------------------------------------------------- */

int shunt_field_expression(const struct shunt_node *node, const char *key,
			   struct shunt_breaker *breaker)
{
	struct shunt_err err = { 0 };
	const char *text = "";
	int r = shunt_field_string(node, key, &text);

	if (r <= 0)
		return r;
	if (strlen(text) > SHUNT_MAX_EXPRESSION)
		return shunt_field_error(node, -EINVAL, key, "has more than %d bytes",
					 SHUNT_MAX_EXPRESSION);
	if (shunt_expression_compile(text, &breaker->predicate, &err) < 0)
		return shunt_field_error(node, -EINVAL, key, "character %u: %.300s", err.column,
					 err.text);
	breaker->expression = strdup(text);
	return breaker->expression ? 1 : -ENOMEM;
}

int shunt_field_rate(const struct shunt_node *node, const char *key, struct shunt_rate_limit *limit)
{
	struct shunt_err err = { 0 };

	if (shunt_rate_make(limit->average, limit->period_ms, limit->burst, &limit->rate, &err) < 0)
		return shunt_field_error(node, -EINVAL, key, "%.300s", err.text);
	return 0;
}

/* ---- parts of a policy ---------------------------------------------------------------------- */

int shunt_field_breaker(const struct shunt_node *node, enum shunt_duration_style style,
			struct shunt_breaker *breaker)
{
	struct shunt_node ignored;
	uint32_t code = 503;
	int r;

	breaker->check_ms = 100;
	breaker->fallback_ms = 10000;
	breaker->recovery_ms = 10000;
	r = shunt_field_duration_32(node, "checkPeriod", style, 1, HOUR_MS, &breaker->check_ms);
	if (r >= 0)
		r = shunt_field_duration_32(node, "fallbackDuration", style, 1, DAY_MS,
					    &breaker->fallback_ms);
	if (r >= 0)
		r = shunt_field_duration_32(node, "recoveryDuration", style, 1, DAY_MS,
					    &breaker->recovery_ms);
	if (r >= 0)
		r = shunt_field_int_32(node, "responseCode", 100, 599, &code);
	breaker->response_code = code;
	if (r >= 0)
		r = shunt_field_need(node, "expression", &ignored);
	/* Last: what it allocates is freed with the policy. */
	if (r >= 0)
		r = shunt_field_expression(node, "expression", breaker);
	return r < 0 ? r : 0;
}

int shunt_field_ejection(const struct shunt_node *node, enum shunt_duration_style style,
			 struct shunt_ejection *ejection)
{
	static const char *const known[] = {
		"consecutive5xxErrors", "consecutiveGatewayErrors", "interval", "baseEjectionTime",
		"maxEjectionPercent",	"minHealthPercent",	    NULL
	};
	uint32_t max_percent = 10, panic_percent = 0;
	int r = shunt_field_only(node, known);

	*ejection = (struct shunt_ejection){
		.enabled = true, .consecutive_5xx = 5, .interval_ms = 10000, .base_ms = 30000
	};
	if (!r)
		r = shunt_field_int_32(node, "consecutive5xxErrors", 0, 1000000,
				       &ejection->consecutive_5xx);
	if (r >= 0)
		r = shunt_field_int_32(node, "consecutiveGatewayErrors", 0, 1000000,
				       &ejection->consecutive_gateway);
	if (r >= 0)
		r = shunt_field_duration_32(node, "interval", style, 1, HOUR_MS,
					    &ejection->interval_ms);
	if (r >= 0)
		r = shunt_field_duration_32(node, "baseEjectionTime", style, 1, DAY_MS,
					    &ejection->base_ms);
	if (r >= 0)
		r = shunt_field_int_32(node, "maxEjectionPercent", 0, 100, &max_percent);
	if (r >= 0)
		r = shunt_field_int_32(node, "minHealthPercent", 0, 100, &panic_percent);
	ejection->max_percent = max_percent;
	ejection->panic_percent = panic_percent;
	return r < 0 ? r : 0;
}
