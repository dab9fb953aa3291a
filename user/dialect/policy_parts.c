// SPDX-License-Identifier: Apache-2.0
#include "dialect/policy_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- merge ---------------------------------------------------------------------------------- */

#define RATES                                                                                      \
	(SHUNT_PART_CONNECTION_RATE | SHUNT_PART_REQUEST_RATE | SHUNT_PART_PACKET_RATE |           \
	 SHUNT_PART_BYTE_RATE)
#define IN_FLIGHT (SHUNT_PART_CONNECTIONS_IN_FLIGHT | SHUNT_PART_REQUESTS_IN_FLIGHT)

static void copy_limits(struct shunt_policy *to, const struct shunt_policy *from, uint16_t first)
{
	for (size_t i = 0; i < from->n_limits; i++) {
		to->limits[to->n_limits] = from->limits[i];
		to->limits[to->n_limits++].key.origin += first;
	}
}

static void copy_in_flight(struct shunt_policy *to, const struct shunt_policy *from, uint16_t first)
{
	for (size_t i = 0; i < from->n_in_flight; i++) {
		to->in_flight[to->n_in_flight] = from->in_flight[i];
		to->in_flight[to->n_in_flight++].key.origin += first;
	}
}

static int copy_sources(struct shunt_sources *to, const struct shunt_sources *from, uint16_t first)
{
	int r = shunt_cidrs_append(&to->allow, &from->allow);

	to->origin = from->origin + first;
	return r ? r : shunt_cidrs_append(&to->deny, &from->deny);
}

static int copy_breaker(struct shunt_breaker *to, const struct shunt_breaker *from, uint16_t first)
{
	char *expression = strdup(from->expression);

	if (!expression)
		return -ENOMEM;
	*to = *from;
	to->expression = expression;
	to->origin += first;
	return 0;
}

/* The parts that need no memory. */
static void copy_plain(struct shunt_policy *to, const struct shunt_policy *from, unsigned parts,
		       uint16_t first)
{
	if (parts & SHUNT_PART_SIGNALS) {
		to->signals = from->signals;
		to->signals_origin = from->signals_origin + first;
	}
	if (parts & RATES)
		copy_limits(to, from, first);
	if (parts & IN_FLIGHT)
		copy_in_flight(to, from, first);
	if (parts & SHUNT_PART_EJECTION) {
		to->ejection = from->ejection;
		to->ejection.origin += first;
	}
	if (parts & SHUNT_PART_DEAD_MAN) {
		to->dead_man = from->dead_man;
		to->dead_man.origin += first;
	}
	if (parts & SHUNT_PART_MAX_AGE) {
		to->max_age_ms = from->max_age_ms;
		to->max_age_origin = from->max_age_origin + first;
	}
	if (parts & SHUNT_PART_PROBE) {
		to->probe = from->probe;
		to->probe.origin += first;
	}
}

/* Which of @parts belong to a group that @has has some of? */
static unsigned also_in(unsigned parts, unsigned has)
{
	unsigned both = parts & has;

	if (has & RATES)
		both |= parts & RATES;
	if (has & IN_FLIGHT)
		both |= parts & IN_FLIGHT;
	return both;
}

int shunt_policy_merge(struct shunt_policy *to, const struct shunt_policy *from,
		       unsigned *ret_overridden)
{
	unsigned parts = shunt_policy_parts(from);
	unsigned overridden = also_in(parts, shunt_policy_parts(to));
	int first = 0, r = 0;

	*ret_overridden = overridden;
	parts &= ~overridden;
	if (parts)
		first = shunt_policy_add_origins(to, from);
	if (first < 0)
		return first;
	copy_plain(to, from, parts, first);
	if (parts & SHUNT_PART_SOURCES)
		r = copy_sources(&to->sources, &from->sources, first);
	if (!r && parts & SHUNT_PART_BREAKER)
		r = copy_breaker(&to->breaker, &from->breaker, first);
	return r;
}

int shunt_policy_append(struct shunt_policy *to, const struct shunt_policy *from)
{
	int first;

	if (to->n_limits + from->n_limits > SHUNT_MAX_LIMITS ||
	    to->n_in_flight + from->n_in_flight > SHUNT_MAX_IN_FLIGHT)
		return -E2BIG;
	for (enum shunt_unit unit = SHUNT_UNIT_CONNECTIONS; unit <= SHUNT_UNIT_REQUESTS; unit++)
		if (shunt_policy_counts_clients(to, unit) &&
		    shunt_policy_counts_clients(from, unit))
			return -E2BIG;
	first = shunt_policy_add_origins(to, from);
	if (first < 0)
		return first;
	copy_limits(to, from, first);
	copy_in_flight(to, from, first);
	return 0;
}

/* ---- variants ------------------------------------------------------------------------------- */

static bool narrow(struct shunt_limit_key *key, const char *variant)
{
	if (key->variant[0])
		return !strcmp(key->variant, variant);
	snprintf(key->variant, sizeof(key->variant), "%s", variant);
	if (key->scope == SHUNT_SCOPE_SERVICE)
		key->scope = SHUNT_SCOPE_VARIANT;
	return true;
}

bool shunt_policy_narrow(struct shunt_policy *policy, const char *variant, char *buf, size_t size)
{
	unsigned others = shunt_policy_parts(policy) & ~(RATES | IN_FLIGHT);
	char text[SHUNT_PARTS_LEN];
	bool fits = true;

	if (others) {
		snprintf(buf, size, "cannot be of the one variant %s: %s", variant,
			 shunt_policy_parts_str(others, text));
		return false;
	}
	for (size_t i = 0; i < policy->n_limits; i++)
		fits &= narrow(&policy->limits[i].key, variant);
	for (size_t i = 0; i < policy->n_in_flight; i++)
		fits &= narrow(&policy->in_flight[i].key, variant);
	if (!fits)
		snprintf(buf, size, "sectionName says variant %s and a limit names another",
			 variant);
	return fits;
}

/* Is @name one of the names in @list? They stand with ", " between them. */
static bool is_listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += len)
		if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

/* Adds @name to the list in @buf if @service lacks it. Return: whether it does. */
static bool is_unknown(const struct shunt_model_service *service, const char *name, char *buf,
		       size_t size)
{
	size_t len = strlen(buf);

	if (!*name || shunt_model_variant_find(service, name))
		return false;
	if (!is_listed(buf, name))
		snprintf(buf + len, size - len, "%s%s", len ? ", " : "", name);
	return true;
}

bool shunt_policy_drop_unknown(struct shunt_policy *policy,
			       const struct shunt_model_service *service, char *buf, size_t size)
{
	bool dead = false;
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < policy->n_limits; i++)
		if (!is_unknown(service, policy->limits[i].key.variant, buf, size))
			policy->limits[n++] = policy->limits[i];
	policy->n_limits = n;
	n = 0;
	for (size_t i = 0; i < policy->n_in_flight; i++)
		if (!is_unknown(service, policy->in_flight[i].key.variant, buf, size))
			policy->in_flight[n++] = policy->in_flight[i];
	policy->n_in_flight = n;
	if (is_unknown(service, policy->breaker.fallback, buf, size))
		policy->breaker.fallback[0] = '\0';
	/* Both are asked, so that both are named. */
	dead |= is_unknown(service, policy->dead_man.canary, buf, size);
	dead |= is_unknown(service, policy->dead_man.stable, buf, size);
	if (dead)
		policy->dead_man = (struct shunt_dead_man){ 0 };
	return buf[0];
}

/* ---- families ------------------------------------------------------------------------------- */

static unsigned families_of(const struct shunt_cidrs *cidrs)
{
	unsigned families = 0;

	for (size_t i = 0; i < cidrs->n; i++)
		families |= 1u << cidrs->items[i].net.family;
	return families;
}

bool shunt_policy_families_fit(const struct shunt_policy *policy,
			       const struct shunt_model_service *service, char *buf, size_t size)
{
	const struct shunt_cidrs *lists[] = { &policy->sources.allow, &policy->sources.deny };
	static const char *const names[] = { "allow", "deny" };
	unsigned families = 0;

	for (size_t i = 0; i < service->n_frontends; i++)
		families |= 1u << service->frontends[i].ip.family;
	for (size_t i = 0; families && i < 2; i++) {
		if (!lists[i]->n || families & families_of(lists[i]))
			continue;
		snprintf(buf, size,
			 "sources.%s has IPv%d addresses alone, and the clients of %s/%s come by "
			 "IPv%d: it would match none of them",
			 names[i], families & 1u << SHUNT_V4 ? 6 : 4, service->namespace_,
			 service->name, families & 1u << SHUNT_V4 ? 4 : 6);
		return false;
	}
	return true;
}
