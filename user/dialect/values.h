/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_VALUES_H
#define SHUNT_DIALECT_VALUES_H

#include "dialect/field.h"
#include "model/policy.h"

/*
 * Values that fields of policies hold, read like those of field.h: 1 when the field is there, 0
 * when it is absent or null (ret_ untouched), -EINVAL when it is wrong.
 */

enum shunt_duration_style {
	SHUNT_DURATION_GATEWAY, /* GEP-2257: "1h30m", at most four whole numbers with a unit */
	SHUNT_DURATION_GO,	/* "1.5s", "1h2m3s", "100ms"; also us and ns */
	SHUNT_DURATION_TRAEFIK, /* as Go; a number without a unit is of seconds */
};

#define HOUR_MS (3600 * 1000u)
#define DAY_MS	(24 * HOUR_MS)
#define WEEK_MS (7 * DAY_MS)

/* A time of whole milliseconds, @min_ms..@max_ms. */
int shunt_field_duration(const struct shunt_node *node, const char *key,
			 enum shunt_duration_style style, uint64_t min_ms, uint64_t max_ms,
			 uint64_t *ret_ms);

/* The same for 32 bits. */
int shunt_field_duration_32(const struct shunt_node *node, const char *key,
			    enum shunt_duration_style style, uint32_t min_ms, uint32_t max_ms,
			    uint32_t *ret_ms);

/* An integer @min..@max of 32 bits. */
int shunt_field_int_32(const struct shunt_node *node, const char *key, uint32_t min, uint32_t max,
		       uint32_t *ret_value);

/* One of @n words, as its index. */
int shunt_field_word(const struct shunt_node *node, const char *key, const char *const *words,
		     size_t n, unsigned *ret_index);

/* The name of a variant: at most 63 bytes. Copied to @buf of SHUNT_NAME_LEN bytes. */
int shunt_field_variant(const struct shunt_node *node, const char *key, char *buf);

/* A list of 1..SHUNT_MAX_SOURCE_RANGES prefixes or addresses, added to @cidrs. Or -ENOMEM. */
int shunt_field_cidrs(const struct shunt_node *node, const char *key, struct shunt_cidrs *cidrs);

/**
 * shunt_field_expression - a circuit breaker's expression, copied and compiled
 * @breaker: expression and predicate are filled; it must have none before
 *
 * Return: also -ENOMEM.
 */
int shunt_field_expression(const struct shunt_node *node, const char *key,
			   struct shunt_breaker *breaker);

/**
 * shunt_field_breaker - what a TrafficPolicy and a middleware say of a circuit breaker alike
 * @breaker: has no expression; checkPeriod, fallbackDuration, recoveryDuration, responseCode and
 *	     expression are filled, with their defaults
 *
 * Other fields of @node are the caller's. Return: 0, -EINVAL or -ENOMEM.
 */
int shunt_field_breaker(const struct shunt_node *node, enum shunt_duration_style style,
			struct shunt_breaker *breaker);

/**
 * shunt_field_ejection - an outlierDetection
 * @ejection: all but its origin is filled
 *
 * Return: 0, -EINVAL, or -EOPNOTSUPP: @node has a field that is not known here.
 */
int shunt_field_ejection(const struct shunt_node *node, enum shunt_duration_style style,
			 struct shunt_ejection *ejection);

/**
 * shunt_field_rate - check and compile what is in @limit: average, period_ms, burst
 *
 * Return: 0, or -EINVAL about field @key of @node.
 */
int shunt_field_rate(const struct shunt_node *node, const char *key,
		     struct shunt_rate_limit *limit);

#endif
