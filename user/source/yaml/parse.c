// SPDX-License-Identifier: Apache-2.0
#include "source/yaml/parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "source/yaml/scalar.h"
#include "source/yaml/yaml.h"

#define EVENT CLEANUP(yaml_event_delete) yaml_event_t

/* A value that was built, and what it counts for where an alias repeats it. */
struct built {
	json_t *json;
	size_t n_nodes;
	unsigned height; /* 1: a scalar */
};

struct anchor {
	char *name;
	struct built value; /* holds a reference */
};

struct shunt_yaml_parser {
	yaml_parser_t yaml;
	const char *file;
	struct shunt_err *err;
	struct shunt_positions *positions; /* of the present document */
	struct anchor *anchors;		   /* of the present document */
	size_t n_anchors;
	size_t n_nodes; /* of the file, aliases expanded */
};

static int build(struct shunt_yaml_parser *p, const yaml_event_t *event, unsigned depth,
		 struct built *ret_built);

__attribute__((format(printf, 4, 5))) static int
fail(struct shunt_yaml_parser *p, const yaml_mark_t *mark, int code, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	shunt_err_set(p->err, code, "%s", text);
	if (p->err) {
		snprintf(p->err->file, sizeof(p->err->file), "%s", p->file);
		p->err->line = mark->line + 1;
		p->err->column = mark->column + 1;
	}
	return code;
}

static int no_memory(struct shunt_yaml_parser *p, const yaml_mark_t *mark)
{
	return fail(p, mark, -ENOMEM, "not enough memory for this file");
}

static int next_event(struct shunt_yaml_parser *p, yaml_event_t *event)
{
	if (yaml_parser_parse(&p->yaml, event))
		return 0;
	if (p->yaml.error == YAML_MEMORY_ERROR)
		return no_memory(p, &p->yaml.mark);
	/* Errors of the reader know a byte offset only; the parser's mark is near it. */
	return fail(p, p->yaml.problem_mark.index ? &p->yaml.problem_mark : &p->yaml.mark, -EINVAL,
		    "this is not YAML: %s%s%s", p->yaml.problem ? p->yaml.problem : "syntax error",
		    p->yaml.context ? ", " : "", p->yaml.context ? p->yaml.context : "");
}

static int count_nodes(struct shunt_yaml_parser *p, const yaml_mark_t *mark, size_t n)
{
	p->n_nodes += n;
	if (p->n_nodes > SHUNT_YAML_MAX_NODES)
		return fail(p, mark, -EFBIG, "more than %d values (aliases expanded) in one file",
			    SHUNT_YAML_MAX_NODES);
	return 0;
}

static int note(struct shunt_yaml_parser *p, const void *what, const yaml_mark_t *mark)
{
	struct shunt_position at = { .line = mark->line + 1, .column = mark->column + 1 };

	if (shunt_positions_add(p->positions, what, at) < 0)
		return no_memory(p, mark);
	return 0;
}

/* true, false and null are shared by all trees, so they have no position of their own. */
static bool is_singleton(const json_t *json)
{
	return json_is_boolean(json) || json_is_null(json);
}

static int build_scalar(struct shunt_yaml_parser *p, const yaml_event_t *event,
			struct built *ret_built)
{
	const char *text = (const char *)event->data.scalar.value;
	const char *tag = (const char *)event->data.scalar.tag;
	size_t len = event->data.scalar.length;
	bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	json_t *json;
	int r;

	if (tag && strcmp(tag, "!") && strcmp(tag, YAML_STR_TAG))
		return fail(p, &event->start_mark, -EINVAL, "the tag %.60s is not supported", tag);
	if (strlen(text) != len)
		return fail(p, &event->start_mark, -EINVAL, "a string must not contain NUL");

	json = plain && !tag ? shunt_yaml_plain(text, len) : json_stringn(text, len);
	if (!json)
		return fail(p, &event->start_mark, -EINVAL, "\"%.60s\" is no value that JSON has",
			    text);
	r = is_singleton(json) ? 0 : note(p, json, &event->start_mark);
	if (r < 0) {
		json_decref(json);
		return r;
	}
	*ret_built = (struct built){ .json = json, .n_nodes = 1, .height = 1 };
	return 0;
}

/* Adds a child's count to its parent. */
static void adopt_counts(struct built *parent, const struct built *child)
{
	parent->n_nodes += child->n_nodes;
	if (parent->height <= child->height)
		parent->height = child->height + 1;
}

static int build_sequence(struct shunt_yaml_parser *p, const yaml_event_t *start, unsigned depth,
			  struct built *ret_built)
{
	CLEANUP(json_decrefp) json_t *list = json_array();
	struct built self = { .n_nodes = 1, .height = 1 };
	int r;

	if (!list || note(p, list, &start->start_mark) < 0)
		return no_memory(p, &start->start_mark);
	for (;;) {
		EVENT event = { 0 };
		struct built item;

		r = next_event(p, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;
		r = build(p, &event, depth + 1, &item);
		if (r < 0)
			return r;
		adopt_counts(&self, &item);
		if (json_array_append_new(list, item.json) < 0)
			return no_memory(p, &event.start_mark);
	}
	self.json = TAKE_PTR(list);
	*ret_built = self;
	return 0;
}

/* Is @event a key that @map may have? */
static int check_key(struct shunt_yaml_parser *p, const yaml_event_t *event, const json_t *map)
{
	const char *key = (const char *)event->data.scalar.value;

	if (event->type != YAML_SCALAR_EVENT)
		return fail(p, &event->start_mark, -EINVAL, "a key must be a plain word or string");
	if (strlen(key) != event->data.scalar.length)
		return fail(p, &event->start_mark, -EINVAL, "a key must not contain NUL");
	if (!strcmp(key, "<<") && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return fail(p, &event->start_mark, -EINVAL,
			    "merge keys (<<) are not supported: write the fields out");
	if (json_object_get(map, key))
		return fail(p, &event->start_mark, -EINVAL,
			    "the key \"%.60s\" is there twice: remove one", key);
	return 0;
}

static int build_member(struct shunt_yaml_parser *p, const yaml_event_t *key_event, json_t *map,
			unsigned depth, struct built *self)
{
	const char *key = (const char *)key_event->data.scalar.value;
	EVENT event = { 0 };
	struct built value;
	int r;

	r = check_key(p, key_event, map);
	if (!r)
		r = next_event(p, &event);
	if (!r)
		r = build(p, &event, depth + 1, &value);
	if (r < 0)
		return r;
	adopt_counts(self, &value);
	if (json_object_set_new(map, key, value.json) < 0)
		return no_memory(p, &key_event->start_mark);
	return note(p, json_object_iter_key(json_object_iter_at(map, key)), &key_event->start_mark);
}

static int build_mapping(struct shunt_yaml_parser *p, const yaml_event_t *start, unsigned depth,
			 struct built *ret_built)
{
	CLEANUP(json_decrefp) json_t *map = json_object();
	struct built self = { .n_nodes = 1, .height = 1 };
	int r;

	if (!map || note(p, map, &start->start_mark) < 0)
		return no_memory(p, &start->start_mark);
	for (;;) {
		EVENT event = { 0 };

		r = next_event(p, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_MAPPING_END_EVENT)
			break;
		r = build_member(p, &event, map, depth, &self);
		if (r < 0)
			return r;
	}
	self.json = TAKE_PTR(map);
	*ret_built = self;
	return 0;
}

static int build_alias(struct shunt_yaml_parser *p, const yaml_event_t *event, unsigned depth,
		       struct built *ret_built)
{
	const char *name = (const char *)event->data.alias.anchor;

	/* The last anchor of a name counts. One that is not complete yet is not there. */
	for (size_t i = p->n_anchors; i-- > 0;) {
		const struct built *value = &p->anchors[i].value;
		int r;

		if (strcmp(p->anchors[i].name, name))
			continue;
		if (depth + value->height - 1 > SHUNT_YAML_MAX_DEPTH)
			return fail(p, &event->start_mark, -EINVAL,
				    "the alias *%.60s nests deeper than %d levels", name,
				    SHUNT_YAML_MAX_DEPTH);
		r = count_nodes(p, &event->start_mark, value->n_nodes);
		if (r < 0)
			return r;
		*ret_built = *value;
		json_incref(value->json);
		return 0;
	}
	return fail(p, &event->start_mark, -EINVAL, "there is no anchor &%.60s before this alias",
		    name);
}

/* Remembers @built under @name, for aliases. */
static int add_anchor(struct shunt_yaml_parser *p, const char *name, const struct built *built)
{
	struct anchor *anchor;

	anchor = shunt_array_add(&p->anchors, &p->n_anchors, sizeof(*anchor));
	if (!anchor)
		return -ENOMEM;
	anchor->value = *built;
	json_incref(built->json);
	anchor->name = strdup(name);
	return anchor->name ? 0 : -ENOMEM;
}

static void clear_anchors(struct shunt_yaml_parser *p)
{
	for (size_t i = 0; i < p->n_anchors; i++) {
		free(p->anchors[i].name);
		json_decref(p->anchors[i].value.json);
	}
	free(p->anchors);
	p->anchors = NULL;
	p->n_anchors = 0;
}

/* The value that starts with @event, at nesting level @depth (the document's root: 1). */
static int build(struct shunt_yaml_parser *p, const yaml_event_t *event, unsigned depth,
		 struct built *ret_built)
{
	const yaml_char_t *anchor = NULL;
	struct built built;
	int r;

	if (depth > SHUNT_YAML_MAX_DEPTH)
		return fail(p, &event->start_mark, -EINVAL, "nested deeper than %d levels",
			    SHUNT_YAML_MAX_DEPTH);
	if (event->type == YAML_ALIAS_EVENT)
		return build_alias(p, event, depth, ret_built);

	r = count_nodes(p, &event->start_mark, 1);
	if (r < 0)
		return r;
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		r = build_scalar(p, event, &built);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		r = build_sequence(p, event, depth, &built);
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		r = build_mapping(p, event, depth, &built);
		break;
	default:
		return fail(p, &event->start_mark, -EINVAL, "a value is missing");
	}
	if (r < 0)
		return r;

	if (anchor && add_anchor(p, (const char *)anchor, &built) < 0) {
		json_decref(built.json);
		return no_memory(p, &event->start_mark);
	}
	*ret_built = built;
	return 0;
}

int shunt_yaml_parser_open(const char *file, const char *text, size_t len, struct shunt_err *err,
			   struct shunt_yaml_parser **ret_parser)
{
	struct shunt_yaml_parser *p = calloc(1, sizeof(*p));

	if (!p || !yaml_parser_initialize(&p->yaml)) {
		free(p);
		return shunt_err_set(err, -ENOMEM, "not enough memory to read %s", file);
	}
	p->file = file;
	p->err = err;
	yaml_parser_set_input_string(&p->yaml, (const unsigned char *)text, len);
	*ret_parser = p;
	return 0;
}

void shunt_yaml_parser_close(struct shunt_yaml_parser *p)
{
	if (!p)
		return;
	clear_anchors(p);
	shunt_positions_unref(p->positions);
	yaml_parser_delete(&p->yaml);
	free(p);
}

void shunt_yaml_document_clear(struct shunt_yaml_document *document)
{
	json_decref(document->json);
	shunt_positions_unref(document->positions);
	*document = (struct shunt_yaml_document){ 0 };
}

/* The root value, up to and with the end of the document. */
static int build_document(struct shunt_yaml_parser *p, struct shunt_yaml_document *ret_document)
{
	EVENT root = { 0 };
	EVENT end = { 0 };
	struct built built;
	int r;

	p->positions = shunt_positions_new();
	if (!p->positions)
		return no_memory(p, &p->yaml.mark);
	r = next_event(p, &root);
	if (!r)
		r = build(p, &root, 1, &built);
	if (r < 0)
		return r;
	r = next_event(p, &end);
	if (r < 0) {
		json_decref(built.json);
		return r;
	}
	shunt_positions_seal(p->positions);
	ret_document->json = built.json;
	ret_document->positions = TAKE_PTR(p->positions);
	ret_document->line = root.start_mark.line + 1;
	return 1;
}

int shunt_yaml_parser_next(struct shunt_yaml_parser *p, struct shunt_yaml_document *ret_document)
{
	for (;;) {
		EVENT event = { 0 };
		int r = next_event(p, &event);

		if (r < 0)
			return r;
		if (event.type == YAML_STREAM_END_EVENT)
			return 0;
		if (event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		r = build_document(p, ret_document);
		clear_anchors(p);
		return r;
	}
}
