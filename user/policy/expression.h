/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_POLICY_EXPRESSION_H
#define SHUNT_POLICY_EXPRESSION_H

#include <stddef.h>

#include "base/err.h"
#include "shunt/predicate.h"

/**
 * shunt_expression_compile - a circuit breaker's expression, as Traefik has it, to a predicate
 * @text:	   NUL-terminated
 * @ret_predicate: filled on success
 * @err:	   on failure: what is wrong, and in column the place, from 1
 *
 * The grammar and the types are those of the breaker in Traefik (vulcand/oxy 2.2):
 *
 *	expr = and { "||" and } ;  and = prim { "&&" prim } ;
 *	prim = "(" expr ")" | function compare literal ;
 *
 * NetworkErrorRatio() and ResponseCodeRatio(from, to, dividedByFrom, dividedByTo) are compared
 * with floats, LatencyAtQuantileMS(percent) and RequestThreshold() with integers. There is no
 * `!`. Ratios and percentages keep 9 and 2 decimals; more are refused, not rounded.
 *
 * Return: 0; -EINVAL: not an expression; -ERANGE: a number out of its range; -E2BIG: more than
 * SHUNT_MAX_TESTS comparisons, or more than SHUNT_MAX_WATCHES things to count for them.
 */
int shunt_expression_compile(const char *text, struct shunt_predicate *ret_predicate,
			     struct shunt_err *err);

/**
 * shunt_expression_warn - a comparison that can never, or always, decide
 * @predicate: as compiled
 * @buf:       the sentence; a ratio above 1, a code outside of 100..599, and the like
 *
 * Return: @buf, or NULL if there is nothing to say.
 */
const char *shunt_expression_warn(const struct shunt_predicate *predicate, char *buf, size_t size);

#endif
