// SPDX-License-Identifier: Apache-2.0
#include "source/object.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/yaml/positions.h"

void shunt_object_free(struct shunt_object *object)
{
	if (!object)
		return;
	json_decref(object->json);
	shunt_positions_unref(object->positions);
	free(object->file);
	free(object);
}

void shunt_objects_free(struct shunt_objects *objects)
{
	if (!objects)
		return;
	for (size_t i = 0; i < objects->n; i++)
		shunt_object_free(objects->items[i]);
	free(objects->items);
	*objects = (struct shunt_objects){ 0 };
}

struct shunt_object *shunt_object_share(const struct shunt_object *object)
{
	struct shunt_object *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *object;
	copy->file = strdup(object->file);
	if (!copy->file) {
		free(copy);
		return NULL;
	}
	json_incref(copy->json);
	shunt_positions_ref(copy->positions);
	return copy;
}

int shunt_object_compare(const struct shunt_object *a, const struct shunt_object *b)
{
	int r = strcmp(a->api_version, b->api_version);

	if (!r)
		r = strcmp(a->kind, b->kind);
	if (!r)
		r = strcmp(a->namespace_, b->namespace_);
	return r ? r : strcmp(a->name, b->name);
}

size_t shunt_api_group_len(const char *api_version)
{
	const char *slash = strchr(api_version, '/');

	return slash ? (size_t)(slash - api_version) : 0;
}

int shunt_object_compare_id(const struct shunt_object *a, const struct shunt_object *b)
{
	size_t a_len = shunt_api_group_len(a->api_version);
	size_t b_len = shunt_api_group_len(b->api_version);
	int r = a_len == b_len	? memcmp(a->api_version, b->api_version, a_len)
		: a_len < b_len ? -1
				: 1;

	if (!r)
		r = strcmp(a->kind, b->kind);
	if (!r)
		r = strcmp(a->namespace_, b->namespace_);
	return r ? r : strcmp(a->name, b->name);
}

static int compare_ids(const void *a, const void *b)
{
	const struct shunt_object *left = *(struct shunt_object *const *)a;
	const struct shunt_object *right = *(struct shunt_object *const *)b;
	int r = shunt_object_compare_id(left, right);

	if (!r)
		r = strcmp(left->file, right->file);
	return r ? r : (left->line > right->line) - (left->line < right->line);
}

void shunt_objects_sort_ids(struct shunt_objects *objects)
{
	if (objects->n)
		qsort(objects->items, objects->n, sizeof(*objects->items), compare_ids);
}

static int compare_items(const void *a, const void *b)
{
	return shunt_object_compare(*(struct shunt_object *const *)a,
				    *(struct shunt_object *const *)b);
}

void shunt_objects_sort(struct shunt_objects *objects)
{
	if (objects->n)
		qsort(objects->items, objects->n, sizeof(*objects->items), compare_items);
}

static bool is_text(const json_t *value)
{
	return !value || json_is_null(value) || json_is_string(value);
}

static bool is_filled(const json_t *text)
{
	return json_is_string(text) && json_string_length(text);
}

static int check_type(const struct shunt_object *object, struct shunt_err *err)
{
	const json_t *json = object->json;

	if (!json_is_object(json))
		return shunt_object_err(err, -EINVAL, object, json, "",
					"must be a mapping with apiVersion and kind");
	if (!is_filled(json_object_get(json, "apiVersion")))
		return shunt_object_err(err, -EINVAL, object, json, "apiVersion",
					"is required and must be a string");
	if (!is_filled(json_object_get(json, "kind")))
		return shunt_object_err(err, -EINVAL, object, json, "kind",
					"is required and must be a string");
	if (!strcmp(object->kind, "List")) /* others were unfolded */
		return shunt_object_err(err, -EINVAL, object, json_object_get(json, "items"),
					"items", "must be a list");
	return 0;
}

int shunt_object_check_names(const struct shunt_object *object, struct shunt_err *err)
{
	const json_t *metadata = json_object_get(object->json, "metadata");
	const json_t *namespace_ = json_object_get(metadata, "namespace");
	const json_t *name = json_object_get(metadata, "name");
	int r = check_type(object, err);

	if (r < 0)
		return r;
	if (metadata && !json_is_null(metadata) && !json_is_object(metadata))
		return shunt_object_err(err, -EINVAL, object, metadata, "metadata",
					"must be a mapping");
	if (!is_text(namespace_))
		return shunt_object_err(err, -EINVAL, object, namespace_, "metadata.namespace",
					"must be a string");
	if (!is_text(name))
		return shunt_object_err(err, -EINVAL, object, name, "metadata.name",
					"must be a string");
	return 0;
}

/*
 * Follows one step of a path, "rules" or "[3]", from @value. A key's own position is taken
 * first: it is right even where the value is true, false, null or shared by an alias.
 */
static const json_t *path_step(const struct shunt_positions *positions, const json_t *value,
			       const char *step, size_t len, struct shunt_position *at)
{
	char key[256];

	if (*step == '[') {
		value = json_array_get(value, strtoul(step + 1, NULL, 10));
		if (value)
			shunt_positions_find(positions, value, at);
		return value;
	}
	if (len >= sizeof(key))
		return NULL;
	memcpy(key, step, len);
	key[len] = '\0';

	void *iter = json_object_iter_at((json_t *)value, key);

	if (!iter)
		return NULL;
	value = json_object_iter_value(iter);
	if (!shunt_positions_find(positions, value, at))
		shunt_positions_find(positions, json_object_iter_key(iter), at);
	return value;
}

/* The position of the deepest value on the way of @field that has one. */
static bool find_by_path(const struct shunt_object *object, const char *field,
			 struct shunt_position *ret_at)
{
	const json_t *value = object->json;
	struct shunt_position at = { .line = object->line };

	shunt_positions_find(object->positions, value, &at);
	while (*field && value) {
		size_t len = *field == '[' ? strcspn(field, "]") : strcspn(field, ".[");

		len += *field == '[' && field[len];
		value = path_step(object->positions, value, field, len, &at);
		field += len;
		field += *field == '.';
	}
	*ret_at = at;
	return at.line;
}

int shunt_object_err(struct shunt_err *err, int code, const struct shunt_object *object,
		     const json_t *value, const char *field, const char *fmt, ...)
{
	struct shunt_position at = { .line = object->line };
	char text[sizeof(err->text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	shunt_err_set(err, code, "%s", text);
	if (!err)
		return code;

	snprintf(err->file, sizeof(err->file), "%s", object->file);
	snprintf(err->field, sizeof(err->field), "%s", field ? field : "");
	if (object->positions && !(value && value != object->json &&
				   shunt_positions_find(object->positions, value, &at)))
		find_by_path(object, err->field, &at);
	err->line = at.line;
	err->column = at.column;
	return code;
}
