// SPDX-License-Identifier: Apache-2.0
#include "dialect/traffic_limits.h"

#include <errno.h>
#include <stdint.h>

#include "policy/rate.h"

#define DEFAULT_PERIOD_MS 1000

/* The words that a field may have, as indices of an enumeration that begins with @first. */
static int read_word(const struct shunt_node *node, const char *key, const char *const *words,
		     size_t n, unsigned *value)
{
	int r = shunt_field_word(node, key, words, n, value);

	return r < 0 ? r : 0;
}

static int read_prefix(const struct shunt_node *limit, struct shunt_limit_key *key)
{
	static const char *const known[] = { "ipv4", "ipv6", NULL };
	struct shunt_node prefix;
	uint32_t v4 = 32, v6 = 128;
	int r = shunt_field_object(limit, "clientPrefix", &prefix);

	if (r > 0 && key->scope != SHUNT_SCOPE_CLIENT)
		return shunt_field_error(limit, -EINVAL, "clientPrefix",
					 "says how much of an address is one client: only with "
					 "scope: client");
	if (r > 0) {
		r = shunt_field_only(&prefix, known);
		if (!r)
			r = shunt_field_int_32(&prefix, "ipv4", 0, 32, &v4);
		if (r >= 0)
			r = shunt_field_int_32(&prefix, "ipv6", 0, 128, &v6);
	}
	if (key->scope == SHUNT_SCOPE_CLIENT) {
		key->prefix_len[SHUNT_V4] = v4;
		key->prefix_len[SHUNT_V6] = v6;
	}
	return r < 0 ? r : 0;
}

/* scope, variant and clientPrefix. */
static int read_whom(const struct shunt_node *limit, struct shunt_limit_key *key)
{
	unsigned scope;
	int r = shunt_field_variant(limit, "variant", key->variant);

	if (r < 0)
		return r;
	scope = r ? SHUNT_SCOPE_VARIANT : SHUNT_SCOPE_SERVICE;
	r = read_word(limit, "scope", shunt_scope_words, SHUNT_N_SCOPES, &scope);
	if (r < 0)
		return r;
	key->scope = scope;
	if (key->variant[0] && scope == SHUNT_SCOPE_SERVICE)
		return shunt_field_error(limit, -EINVAL, "scope",
					 "service counts for all variants together, variant names "
					 "one: leave one of them out");
	return read_prefix(limit, key);
}

/* What goes over the limit: 429 is for requests, and packets have no answer. */
static int read_answer(const struct shunt_node *limit, enum shunt_unit unit,
		       enum shunt_over_answer *ret_answer)
{
	static const enum shunt_over_answer usual[SHUNT_N_UNITS] = {
		[SHUNT_UNIT_CONNECTIONS] = SHUNT_OVER_REJECT,
		[SHUNT_UNIT_REQUESTS] = SHUNT_OVER_429,
		[SHUNT_UNIT_PACKETS] = SHUNT_OVER_DROP,
		[SHUNT_UNIT_BYTES] = SHUNT_OVER_DROP,
	};
	unsigned answer = usual[unit];
	int r = read_word(limit, "answer", shunt_over_words, SHUNT_N_OVER_ANSWERS, &answer);

	if (r < 0)
		return r;
	if (answer == SHUNT_OVER_429 && unit != SHUNT_UNIT_REQUESTS)
		return shunt_field_error(
			limit, -EINVAL, "answer", "429 answers a request: with unit: %s only %s",
			shunt_unit_words[unit],
			usual[unit] == SHUNT_OVER_DROP ? "drop" : "reject or drop");
	if (answer == SHUNT_OVER_REJECT && usual[unit] == SHUNT_OVER_DROP)
		return shunt_field_error(
			limit, -EINVAL, "answer",
			"%s of a connection that goes on are dropped, not rejected",
			shunt_unit_words[unit]);
	*ret_answer = answer;
	return 0;
}

static int read_unit(const struct shunt_node *limit, size_t n_units, enum shunt_unit *ret_unit)
{
	unsigned unit = SHUNT_UNIT_CONNECTIONS;
	int r = read_word(limit, "unit", shunt_unit_words, n_units, &unit);

	*ret_unit = unit;
	return r;
}

/* ---- rate limits ---------------------------------------------------------------------------- */

static int read_numbers(const struct shunt_node *node, struct shunt_rate_limit *limit)
{
	struct shunt_node ignored;
	int64_t average = 0;
	int r = shunt_field_need(node, "average", &ignored);

	limit->burst = 1;
	limit->period_ms = DEFAULT_PERIOD_MS;
	if (r > 0)
		r = shunt_field_int(node, "average", 0, SHUNT_MAX_AVERAGE, &average);
	if (r >= 0)
		r = shunt_field_duration(node, "period", SHUNT_DURATION_GATEWAY, 1,
					 SHUNT_MAX_PERIOD_MS, &limit->period_ms);
	if (r >= 0)
		r = shunt_field_int_32(node, "burst", 1, UINT32_MAX, &limit->burst);
	limit->average = average;
	return r < 0 ? r : shunt_field_rate(node, "burst", limit);
}

static int read_limit(const struct shunt_node *node, struct shunt_rate_limit *limit)
{
	static const char *const known[] = { "unit",	"scope",   "clientPrefix",
					     "variant", "average", "period",
					     "burst",	"answer",  NULL };
	int r = shunt_field_only(node, known);

	if (!r)
		r = read_unit(node, SHUNT_N_UNITS, &limit->key.unit);
	if (!r)
		r = read_whom(node, &limit->key);
	if (!r && limit->key.scope == SHUNT_SCOPE_BACKEND)
		r = shunt_field_error(node, -EINVAL, "scope",
				      "a rate is of a service, variant or client");
	if (!r)
		r = read_answer(node, limit->key.unit, &limit->answer);
	return r ? r : read_numbers(node, limit);
}

/* A list of at most @max. Return: 1, 0: absent, -EINVAL. */
static int read_list(const struct shunt_node *spec, const char *key, size_t max,
		     struct shunt_node *ret_list)
{
	int r = shunt_field_list(spec, key, ret_list);

	if (r > 0 && shunt_field_length(ret_list) > max)
		return shunt_field_error(ret_list, -EINVAL, NULL, "at most %zu, not %zu", max,
					 shunt_field_length(ret_list));
	return r;
}

int shunt_traffic_read_limits(const struct shunt_node *spec, struct shunt_policy *policy)
{
	struct shunt_node list, item;
	int r = read_list(spec, "rateLimits", SHUNT_MAX_LIMITS, &list);

	if (r <= 0)
		return r;
	for (size_t i = 0; i < shunt_field_length(&list); i++) {
		struct shunt_rate_limit limit = { 0 };

		r = shunt_field_item_object(&list, i, &item);
		if (!r)
			r = read_limit(&item, &limit);
		if (r < 0)
			return r;
		if (limit.average) /* 0 is no limit, as in Traefik */
			policy->limits[policy->n_limits++] = limit;
	}
	return 0;
}

/* ---- in flight ------------------------------------------------------------------------------ */

static const char *name_of(enum shunt_unit unit)
{
	return unit == SHUNT_UNIT_REQUESTS ? "request" : "connection";
}

static int read_flight(const struct shunt_node *node, struct shunt_in_flight *limit)
{
	static const char *const known[] = { "unit",   "scope", "clientPrefix", "variant", "max",
					     "answer", NULL };
	struct shunt_node ignored;
	int r = shunt_field_only(node, known);

	if (!r)
		r = read_unit(node, SHUNT_UNIT_REQUESTS + 1, &limit->key.unit);
	if (!r)
		r = read_whom(node, &limit->key);
	if (!r)
		r = read_answer(node, limit->key.unit, &limit->answer);
	if (!r)
		r = shunt_field_need(node, "max", &ignored);
	if (r > 0)
		r = shunt_field_int_32(node, "max", 1, UINT32_MAX, &limit->max);
	return r < 0 ? r : 0;
}

int shunt_traffic_read_in_flight(const struct shunt_node *spec, struct shunt_policy *policy)
{
	struct shunt_node list, item;
	int r = read_list(spec, "inFlight", SHUNT_MAX_IN_FLIGHT, &list);

	if (r <= 0)
		return r;
	for (size_t i = 0; i < shunt_field_length(&list); i++) {
		const struct shunt_limit_key *key = &policy->in_flight[i].key;

		r = shunt_field_item_object(&list, i, &item);
		if (!r)
			r = read_flight(&item, &policy->in_flight[i]);
		if (r < 0)
			return r;
		if (key->scope == SHUNT_SCOPE_CLIENT &&
		    shunt_policy_counts_clients(policy, key->unit))
			return shunt_field_error(&item, -EINVAL, NULL,
						 "a %s is counted for one client: at most one "
						 "limit of %ss has scope: client",
						 name_of(key->unit), name_of(key->unit));
		policy->n_in_flight++;
	}
	return 0;
}
