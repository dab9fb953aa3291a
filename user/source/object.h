/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_OBJECT_H
#define SHUNT_SOURCE_OBJECT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * A Kubernetes object as it came from a source, YAML file or API server alike: a JSON tree,
 * and for files the position of each value, so that an error can name line and column.
 */
struct shunt_positions; /* of one YAML document; opaque */

struct shunt_object {
	json_t *json;			   /* owned reference */
	struct shunt_positions *positions; /* owned; NULL when from the API server */
	const char *api_version;	   /* these four borrow from json; "" if absent */
	const char *kind;
	const char *namespace_; /* "default" if absent; these two also if of a wrong type */
	const char *name;	/* "" if absent */
	char *file;		/* owned; "" when from the API server */
	unsigned line;		/* of the document's first line */
};

struct shunt_objects {
	struct shunt_object **items; /* owned, sorted: apiVersion, kind, namespace, name */
	size_t n;
};

void shunt_objects_free(struct shunt_objects *objects); /* contents; NULL is fine */
void shunt_object_free(struct shunt_object *object);	/* NULL is fine */

/* Return: a second object that shares the tree and positions of @object, or NULL: no memory. */
struct shunt_object *shunt_object_share(const struct shunt_object *object);

/* Order by apiVersion, kind, namespace, name. Return: as strcmp. */
int shunt_object_compare(const struct shunt_object *a, const struct shunt_object *b);

/*
 * Order by API group, kind, namespace, name: 0 for two versions of one object. Return: as
 * strcmp.
 */
int shunt_object_compare_id(const struct shunt_object *a, const struct shunt_object *b);

void shunt_objects_sort(struct shunt_objects *objects);

/* Sorts versions of one object beside each other, by file and line. */
void shunt_objects_sort_ids(struct shunt_objects *objects);

/* Length of the group in an apiVersion: 0 for "v1". */
size_t shunt_api_group_len(const char *api_version);

/* The kind of an object that has none, or is none. */
#define SHUNT_KIND_UNKNOWN "Document"

/*
 * Is it a mapping with apiVersion and kind, and have metadata, its name and its namespace the
 * types that they must have? An object of which that is not true is nameless: nobody may use it.
 * Return: 0, or -EINVAL with @err.
 */
int shunt_object_check_names(const struct shunt_object *object, struct shunt_err *err);

/**
 * shunt_object_err - fill @err about one value of an object
 * @object: borrowed
 * @value:  the offending node, or the nearest one that exists; NULL: the whole object
 * @field:  its path, "spec.rules[0].backendRefs[1].weight"
 *
 * Return: @code.
 */
int shunt_object_err(struct shunt_err *err, int code, const struct shunt_object *object,
		     const json_t *value, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

#endif
