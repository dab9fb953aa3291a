/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_FIELD_H
#define SHUNT_DIALECT_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "source/object.h"

/*
 * Typed reading of an object. A node is one JSON value with its path and the object it
 * belongs to, so that every error names file, line, column and field by itself. Nodes are
 * passed by value, own nothing and live as long as the object and the error.
 *
 * All getters: 1 when the field is there, 0 when it is absent or null (ret_ untouched),
 * -EINVAL when it is wrong (*node->err is filled).
 */
struct shunt_node {
	const struct shunt_object *object;
	const json_t *json;
	struct shunt_err *err;
	char path[160]; /* "spec.rules[0].backendRefs[1]"; "" is the object itself */
};

/* The node of a whole object; errors below it go to @err. */
struct shunt_node shunt_field_root(const struct shunt_object *object, struct shunt_err *err);

/* The spec of an object that has no unknown fields beside it. 0, -EINVAL or -EOPNOTSUPP. */
int shunt_field_spec(const struct shunt_object *object, struct shunt_err *err,
		     struct shunt_node *ret_spec);

int shunt_field_any(const struct shunt_node *node, const char *key, struct shunt_node *ret_node);
int shunt_field_object(const struct shunt_node *node, const char *key, struct shunt_node *ret_node);
int shunt_field_list(const struct shunt_node *node, const char *key, struct shunt_node *ret_list);
int shunt_field_string(const struct shunt_node *node, const char *key, const char **ret_text);
int shunt_field_bool(const struct shunt_node *node, const char *key, bool *ret_value);

/* An integer @min..@max; fractions, strings and what does not fit are errors. */
int shunt_field_int(const struct shunt_node *node, const char *key, int64_t min, int64_t max,
		    int64_t *ret_value);

/* A port, 1..65535. */
int shunt_field_port(const struct shunt_node *node, const char *key, uint16_t *ret_port);

/* A DNS label: at most 63 of a-z, 0-9 and '-': names of Services and namespaces. */
int shunt_field_label(const struct shunt_node *node, const char *key, const char **ret_text);

/* As above, but an absent field is an error: 1 or -EINVAL. */
int shunt_field_need(const struct shunt_node *node, const char *key, struct shunt_node *ret_node);

/* Number of elements of a list node, and one of them. The second fails unless it is an object. */
size_t shunt_field_length(const struct shunt_node *list);
struct shunt_node shunt_field_item(const struct shunt_node *list, size_t index);
int shunt_field_item_object(const struct shunt_node *list, size_t index,
			    struct shunt_node *ret_node);

/* The value of a node itself: a string, an address. 0 or -EINVAL. */
int shunt_field_text(const struct shunt_node *node, const char **ret_text);
int shunt_field_ip(const struct shunt_node *node, struct shunt_ip *ret_ip);

/**
 * shunt_field_only - refuse what we do not know
 * @known: NULL-terminated names that @node may have
 *
 * Nulls and empty lists pass: they ask for nothing. Return: 0, or -EOPNOTSUPP naming the field.
 */
int shunt_field_only(const struct shunt_node *node, const char *const *known);

/**
 * shunt_field_error - an error about @node, or about its member @key
 * @code: -EINVAL: the manifest is wrong; -EOPNOTSUPP: right, but Shunt cannot do it
 * @key:  may be absent in the object; NULL: the node itself
 *
 * Return: @code.
 */
int shunt_field_error(const struct shunt_node *node, int code, const char *key, const char *fmt,
		      ...) __attribute__((format(printf, 4, 5)));

#endif
