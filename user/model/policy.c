// SPDX-License-Identifier: Apache-2.0
#include "model/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"

const char *const shunt_signals_words[SHUNT_N_SIGNALS_MODES] = { "auto", "off", "tcp", "http" };
const char *const shunt_unit_words[SHUNT_N_UNITS] = { "connections", "requests", "packets",
						      "bytes" };
const char *const shunt_scope_words[SHUNT_N_SCOPES] = { "service", "variant", "backend", "client" };
const char *const shunt_over_words[SHUNT_N_OVER_ANSWERS] = { "reject", "drop", "429" };

/* ---- memory --------------------------------------------------------------------------------- */

struct shunt_policy *shunt_policy_new(void)
{
	return calloc(1, sizeof(struct shunt_policy));
}

void shunt_policy_free(struct shunt_policy *policy)
{
	if (!policy)
		return;
	for (size_t i = 0; i < policy->n_origins; i++)
		shunt_object_ref_clear(&policy->origins[i]);
	free(policy->origins);
	free(policy->sources.allow.items);
	free(policy->sources.deny.items);
	free(policy->sources.load_balancer.items);
	free(policy->breaker.expression);
	free(policy);
}

int shunt_cidrs_add(struct shunt_cidrs *cidrs, const struct shunt_cidr *cidr)
{
	struct shunt_cidr *slot = shunt_array_add(&cidrs->items, &cidrs->n, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = *cidr;
	return 0;
}

int shunt_cidrs_append(struct shunt_cidrs *to, const struct shunt_cidrs *from)
{
	int r = 0;

	for (size_t i = 0; i < from->n && !r; i++)
		r = shunt_cidrs_add(to, &from->items[i]);
	return r;
}

int shunt_policy_add_origins(struct shunt_policy *to, const struct shunt_policy *from)
{
	size_t first = to->n_origins;

	for (size_t i = 0; i < from->n_origins; i++) {
		struct shunt_object_ref *slot =
			shunt_array_add(&to->origins, &to->n_origins, sizeof(*slot));

		if (!slot || shunt_object_ref_copy(&from->origins[i], slot) < 0)
			return -ENOMEM;
	}
	return first;
}

struct shunt_policy *shunt_policy_copy(const struct shunt_policy *policy)
{
	struct shunt_policy *copy = shunt_policy_new();
	int r;

	if (!copy)
		return NULL;
	*copy = *policy;
	/* First of all nothing of it still belongs to @policy. */
	copy->origins = NULL;
	copy->n_origins = 0;
	copy->sources = (struct shunt_sources){ .origin = policy->sources.origin };
	copy->breaker.expression = NULL;
	r = shunt_policy_add_origins(copy, policy);
	if (r >= 0)
		r = shunt_cidrs_append(&copy->sources.allow, &policy->sources.allow);
	if (!r)
		r = shunt_cidrs_append(&copy->sources.deny, &policy->sources.deny);
	if (!r)
		r = shunt_cidrs_append(&copy->sources.load_balancer,
				       &policy->sources.load_balancer);
	if (!r && policy->breaker.expression) {
		copy->breaker.expression = strdup(policy->breaker.expression);
		r = copy->breaker.expression ? 0 : -ENOMEM;
	}
	if (!r)
		return copy;
	shunt_policy_free(copy);
	return NULL;
}

/* ---- parts ---------------------------------------------------------------------------------- */

/* In the order of their bits. */
static const char *const part_words[] = {
	"signals",
	"rate limits of connections",
	"rate limits of requests",
	"rate limits of packets",
	"rate limits of bytes",
	"limits of connections in flight",
	"limits of requests in flight",
	"source addresses",
	"loadBalancerSourceRanges",
	"circuit breaker",
	"outlier ejection",
	"dead-man switch",
	"maximum connection age",
	"probes",
};

unsigned shunt_policy_parts(const struct shunt_policy *policy)
{
	unsigned parts = 0;

	if (!policy)
		return 0;
	if (policy->signals != SHUNT_SIGNALS_AUTO)
		parts |= SHUNT_PART_SIGNALS;
	for (size_t i = 0; i < policy->n_limits; i++)
		parts |= SHUNT_PART_CONNECTION_RATE << policy->limits[i].key.unit;
	for (size_t i = 0; i < policy->n_in_flight; i++)
		parts |= SHUNT_PART_CONNECTIONS_IN_FLIGHT << policy->in_flight[i].key.unit;
	if (policy->sources.allow.n || policy->sources.deny.n)
		parts |= SHUNT_PART_SOURCES;
	if (policy->sources.load_balancer.n)
		parts |= SHUNT_PART_LOAD_BALANCER_SOURCES;
	if (policy->breaker.expression)
		parts |= SHUNT_PART_BREAKER;
	if (policy->ejection.enabled)
		parts |= SHUNT_PART_EJECTION;
	if (policy->dead_man.enabled)
		parts |= SHUNT_PART_DEAD_MAN;
	if (policy->max_age_ms)
		parts |= SHUNT_PART_MAX_AGE;
	if (policy->probe.path[0])
		parts |= SHUNT_PART_PROBE;
	return parts;
}

bool shunt_ejection_decides(const struct shunt_ejection *ejection)
{
	return ejection->enabled && ejection->max_percent &&
	       (ejection->consecutive_5xx || ejection->consecutive_gateway);
}

bool shunt_policy_ejects(const struct shunt_policy *policy)
{
	return policy && shunt_ejection_decides(&policy->ejection);
}

bool shunt_policy_has_http(const struct shunt_policy *policy, const struct shunt_port *port)
{
	enum shunt_signals signals = policy ? policy->signals : SHUNT_SIGNALS_AUTO;

	return port->proto == IPPROTO_TCP &&
	       (signals == SHUNT_SIGNALS_HTTP || (signals == SHUNT_SIGNALS_AUTO && port->http));
}

bool shunt_policy_counts_clients(const struct shunt_policy *policy, enum shunt_unit unit)
{
	for (size_t i = 0; i < policy->n_in_flight; i++)
		if (policy->in_flight[i].key.scope == SHUNT_SCOPE_CLIENT &&
		    policy->in_flight[i].key.unit == unit)
			return true;
	return false;
}

const char *shunt_policy_parts_str(unsigned parts, char *buf)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(part_words); i++)
		if (parts & 1u << i && len < SHUNT_PARTS_LEN)
			len += snprintf(buf + len, SHUNT_PARTS_LEN - len, "%s%s", len ? ", " : "",
					part_words[i]);
	return buf;
}

/* ---- order and names ------------------------------------------------------------------------ */

static int compare_cidrs(const void *a, const void *b)
{
	const struct shunt_cidr *x = a, *y = b;
	int r = x->net.family - y->net.family;

	if (!r)
		r = memcmp(&x->net.addr, &y->net.addr, sizeof(x->net.addr));
	return r ? r : x->prefix_len - y->prefix_len;
}

static void sort_cidrs(struct shunt_cidrs *cidrs)
{
	size_t n = 0;

	if (!cidrs->n)
		return;
	qsort(cidrs->items, cidrs->n, sizeof(*cidrs->items), compare_cidrs);
	for (size_t i = 0; i < cidrs->n; i++)
		if (!n || compare_cidrs(&cidrs->items[n - 1], &cidrs->items[i]))
			cidrs->items[n++] = cidrs->items[i];
	cidrs->n = n;
}

/* FNV-1a, whose state is the digest. */
#define FNV_START 0xcbf29ce484222325ull

static void add_bytes(uint64_t *hash, const void *bytes, size_t n)
{
	for (const unsigned char *c = bytes; n; n--, c++)
		*hash = (*hash ^ *c) * 0x100000001b3ull;
}

static void add_number(uint64_t *hash, uint64_t number)
{
	add_bytes(hash, &number, sizeof(number));
}

static void add_text(uint64_t *hash, const char *text)
{
	add_bytes(hash, text, strlen(text) + 1);
}

/* What a limit is, without its order among its like. */
static uint64_t key_hash(const struct shunt_limit_key *key, bool is_rate)
{
	uint64_t hash = FNV_START;

	add_number(&hash, is_rate);
	add_number(&hash, key->unit);
	add_number(&hash, key->scope);
	add_text(&hash, key->variant);
	add_number(&hash, (uint64_t)key->prefix_len[SHUNT_V4] << 8 | key->prefix_len[SHUNT_V6]);
	return hash;
}

static void name_key(struct shunt_limit_key *key, bool is_rate, uint64_t n_before)
{
	uint64_t hash = key_hash(key, is_rate);

	add_number(&hash, n_before);
	key->id = hash ? hash : 1;
}

void shunt_policy_seal(struct shunt_policy *policy)
{
	for (size_t i = 0; i < policy->n_limits; i++) {
		uint64_t hash = key_hash(&policy->limits[i].key, true), n = 0;

		for (size_t j = 0; j < i; j++)
			n += key_hash(&policy->limits[j].key, true) == hash;
		name_key(&policy->limits[i].key, true, n);
	}
	for (size_t i = 0; i < policy->n_in_flight; i++) {
		uint64_t hash = key_hash(&policy->in_flight[i].key, false), n = 0;

		for (size_t j = 0; j < i; j++)
			n += key_hash(&policy->in_flight[j].key, false) == hash;
		name_key(&policy->in_flight[i].key, false, n);
	}
	sort_cidrs(&policy->sources.allow);
	sort_cidrs(&policy->sources.deny);
	sort_cidrs(&policy->sources.load_balancer);
}

/* ---- digest --------------------------------------------------------------------------------- */

static void add_cidrs(uint64_t *hash, const struct shunt_cidrs *cidrs)
{
	add_number(hash, cidrs->n);
	for (size_t i = 0; i < cidrs->n; i++) {
		add_bytes(hash, &cidrs->items[i].net.addr, sizeof(cidrs->items[i].net.addr));
		add_number(hash, cidrs->items[i].net.family << 8 | cidrs->items[i].prefix_len);
	}
}

static void add_limits(uint64_t *hash, const struct shunt_policy *policy)
{
	add_number(hash, policy->n_limits);
	for (size_t i = 0; i < policy->n_limits; i++) {
		const struct shunt_rate_limit *limit = &policy->limits[i];

		add_number(hash, key_hash(&limit->key, true));
		add_number(hash, limit->average);
		add_number(hash, limit->period_ms);
		add_number(hash, (uint64_t)limit->burst << 8 | limit->answer);
	}
	add_number(hash, policy->n_in_flight);
	for (size_t i = 0; i < policy->n_in_flight; i++) {
		const struct shunt_in_flight *limit = &policy->in_flight[i];

		add_number(hash, key_hash(&limit->key, false));
		add_number(hash, (uint64_t)limit->max << 8 | limit->answer);
	}
}

static void add_breaker(uint64_t *hash, const struct shunt_breaker *breaker)
{
	add_number(hash, breaker->expression != NULL);
	if (!breaker->expression)
		return;
	add_text(hash, breaker->expression);
	add_number(hash, breaker->check_ms);
	add_number(hash, breaker->fallback_ms);
	add_number(hash, breaker->recovery_ms);
	add_number(hash, (uint64_t)breaker->response_code << 8 | breaker->scope);
	add_number(hash, breaker->min_requests);
	add_text(hash, breaker->fallback);
}

static void add_ejection(uint64_t *hash, const struct shunt_ejection *ejection)
{
	add_number(hash, ejection->enabled);
	if (!ejection->enabled)
		return;
	add_number(hash, (uint64_t)ejection->consecutive_5xx << 32 | ejection->consecutive_gateway);
	add_number(hash, (uint64_t)ejection->interval_ms << 32 | ejection->base_ms);
	add_number(hash, ejection->max_percent << 8 | ejection->panic_percent);
}

static void add_dead_man(uint64_t *hash, const struct shunt_dead_man *dead_man)
{
	add_number(hash, dead_man->enabled);
	if (!dead_man->enabled)
		return;
	add_text(hash, dead_man->canary);
	add_text(hash, dead_man->stable);
	add_number(hash, dead_man->margin_bp);
	add_number(hash, (uint64_t)dead_man->min_samples << 32 | dead_man->window_ms);
}

uint64_t shunt_policy_digest(const struct shunt_policy *policy)
{
	uint64_t hash = FNV_START;

	if (!policy)
		return 0;
	add_number(&hash, policy->signals);
	add_limits(&hash, policy);
	add_cidrs(&hash, &policy->sources.allow);
	add_cidrs(&hash, &policy->sources.deny);
	add_cidrs(&hash, &policy->sources.load_balancer);
	add_breaker(&hash, &policy->breaker);
	add_ejection(&hash, &policy->ejection);
	add_dead_man(&hash, &policy->dead_man);
	add_number(&hash, policy->max_age_ms);
	add_text(&hash, policy->probe.path);
	add_number(&hash, (uint64_t)policy->probe.interval_ms << 32 | policy->probe.timeout_ms);
	return hash;
}

bool shunt_policy_equal(const struct shunt_policy *a, const struct shunt_policy *b)
{
	/* 64 bits of a digest over what is compared: nobody can choose both sides. */
	return !a == !b && shunt_policy_digest(a) == shunt_policy_digest(b);
}
