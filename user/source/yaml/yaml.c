// SPDX-License-Identifier: Apache-2.0
#include "source/yaml/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "source/yaml/files.h"
#include "source/yaml/parse.h"

/* What the objects of one text have in common. */
struct reading {
	const char *file;
	const struct shunt_yaml_document *document;
	struct shunt_objects objects; /* so far, in the order of the text */
	struct shunt_err *err;
};

/* A string member: its text, "" when absent; NULL when it is something else. */
static const char *text_member(const json_t *map, const char *key)
{
	const json_t *value = json_object_get(map, key);

	return !value || json_is_null(value) ? "" : json_string_value(value);
}

static const char *text_or(const char *text, const char *otherwise)
{
	return text && *text ? text : otherwise;
}

/*
 * Fills the borrowed names of @object. What is missing or of a wrong type is a matter of this
 * object alone: see shunt_object_check_names().
 */
static void identify(struct shunt_object *object)
{
	const json_t *metadata = json_object_get(object->json, "metadata");

	object->api_version = text_or(text_member(object->json, "apiVersion"), "");
	object->kind = text_or(text_member(object->json, "kind"), SHUNT_KIND_UNKNOWN);
	object->namespace_ = text_or(text_member(metadata, "namespace"), "default");
	object->name = text_or(text_member(metadata, "name"), "");
}

/* @at: where @json stands if it has no position of its own; becomes where it stands. */
static int add_object(struct reading *reading, json_t *json, struct shunt_position *at)
{
	struct shunt_object **slot, *object = calloc(1, sizeof(*object));

	slot = object ? shunt_array_add(&reading->objects.items, &reading->objects.n, sizeof(*slot))
		      : NULL;
	if (!slot) {
		free(object);
		return shunt_err_set(reading->err, -ENOMEM, "not enough memory for %s",
				     reading->file);
	}
	*slot = object; /* from here on freed with the others */
	object->json = json_incref(json);
	object->positions = shunt_positions_ref(reading->document->positions);
	object->file = strdup(reading->file);
	if (!object->file)
		return -ENOMEM;
	shunt_positions_find(object->positions, json, at);
	object->line = at->line;
	identify(object);
	return 0;
}

/* Adds the object @json, or those of the List that it is. */
static int add_objects(struct reading *reading, json_t *json, struct shunt_position *at)
{
	const char *kind = text_member(json, "kind");
	json_t *items = json_object_get(json, "items"), *item;
	size_t i;
	int r = 0;

	if (!kind || strcmp(kind, "List") ||
	    !(!items || json_is_null(items) || json_is_array(items)))
		return add_object(reading, json, at);

	shunt_positions_find(reading->document->positions, items, at);
	json_array_foreach (items, i, item) {
		r = add_objects(reading, item, at);
		if (r < 0)
			break;
	}
	return r;
}

/* Sorts the objects by identity to see whether one is there twice. */
static int check_duplicates(struct reading *reading)
{
	struct shunt_objects *objects = &reading->objects;

	shunt_objects_sort_ids(objects);
	for (size_t i = 1; i < objects->n; i++) {
		const struct shunt_object *first = objects->items[i - 1];
		const struct shunt_object *second = objects->items[i];

		if (second->name[0] && !shunt_object_compare_id(first, second))
			return shunt_object_err(reading->err, -EINVAL, second, second->json, "",
						"%s %s/%s is already in %s line %u: remove one",
						second->kind, second->namespace_, second->name,
						first->file, first->line);
	}
	return 0;
}

static int read_documents(struct reading *reading, struct shunt_yaml_parser *parser)
{
	for (;;) {
		CLEANUP(shunt_yaml_document_clear) struct shunt_yaml_document document = { 0 };
		struct shunt_position at = { 0 };
		int r = shunt_yaml_parser_next(parser, &document);

		if (r <= 0)
			return r;
		at.line = document.line;
		reading->document = &document;
		r = json_is_null(document.json) ? 0 : add_objects(reading, document.json, &at);
		if (r < 0)
			return r;
	}
}

/* Moves all of @from to the end of @to. Return: 0 or -ENOMEM. */
static int append_objects(struct shunt_objects *to, struct shunt_objects *from)
{
	struct shunt_object **items;

	if (!from->n)
		return 0;
	items = reallocarray(to->items, to->n + from->n, sizeof(*items));
	if (!items)
		return -ENOMEM;
	memcpy(items + to->n, from->items, from->n * sizeof(*items));
	to->items = items;
	to->n += from->n;
	from->n = 0;
	shunt_objects_sort(to);
	return 0;
}

int shunt_yaml_parse(const char *file, const char *text, size_t len,
		     struct shunt_objects *ret_objects, struct shunt_err *err)
{
	struct reading reading = { .file = file, .err = err };
	struct shunt_yaml_parser *parser;
	int r;

	if (len > SHUNT_YAML_MAX_BYTES)
		return shunt_file_err(err, -EFBIG, file, "is larger than %d MiB",
				      SHUNT_YAML_MAX_BYTES >> 20);
	r = shunt_yaml_parser_open(file, text, len, err, &parser);
	if (r < 0)
		return r;
	r = read_documents(&reading, parser);
	shunt_yaml_parser_close(parser);
	if (!r)
		r = check_duplicates(&reading);
	if (!r && append_objects(ret_objects, &reading.objects) < 0)
		r = shunt_err_set(err, -ENOMEM, "not enough memory for %s", file);
	shunt_objects_free(&reading.objects);
	return r;
}

static int load_file(void *context, const char *path, const struct stat *st)
{
	struct reading *loading = context;
	CLEANUP(freep) char *text = NULL;
	size_t len;
	int r;

	(void)st;
	r = shunt_file_read(path, SHUNT_YAML_MAX_BYTES, &text, &len, loading->err);
	if (r < 0)
		return r;
	return shunt_yaml_parse(path, text, len, &loading->objects, loading->err);
}

int shunt_yaml_load(const char *path, struct shunt_objects *ret_objects, struct shunt_err *err)
{
	static const struct shunt_walk_ops ops = { .file = load_file };
	struct reading loading = { .err = err };
	int r;

	r = shunt_files_walk(path, &ops, &loading, err);
	if (!r)
		r = check_duplicates(&loading);
	if (!r && append_objects(ret_objects, &loading.objects) < 0)
		r = shunt_err_set(err, -ENOMEM, "not enough memory for %s", path);
	shunt_objects_free(&loading.objects);
	return r;
}
