// SPDX-License-Identifier: Apache-2.0
#include "dialect/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define PREFIX		  "shunt.io/"
#define DEFAULT_SESSION_S 10800

/* Whole decimal number @min..@max at *@text, which moves behind it. */
static bool parse_number(const char **text, unsigned long min, unsigned long max, uint32_t *ret)
{
	char *end;
	unsigned long value;

	if (**text < '0' || **text > '9')
		return false;
	value = strtoul(*text, &end, 10);
	if (value < min || value > max)
		return false;
	*text = end;
	*ret = value;
	return true;
}

static bool parse_affinity(const char *text, struct shunt_split_settings *settings)
{
	static const char *const kinds[] = {
		[SHUNT_AFFINITY_CONNECTION] = "connection",
		[SHUNT_AFFINITY_HASH] = "hash",
		[SHUNT_AFFINITY_SESSION] = "session",
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(kinds[i], text)) {
			settings->affinity.kind = i;
			return true;
		}
	return false;
}

static bool parse_prefix(const char *text, struct shunt_split_settings *settings)
{
	uint32_t v4, v6;

	if (!parse_number(&text, 1, 32, &v4) || *text++ != '/' ||
	    !parse_number(&text, 1, 128, &v6) || *text)
		return false;
	settings->affinity.prefix_len_4 = v4;
	settings->affinity.prefix_len_6 = v6;
	return true;
}

static bool parse_session(const char *text, struct shunt_split_settings *settings)
{
	return parse_number(&text, 1, 86400, &settings->affinity.timeout_s) && !*text;
}

static bool parse_drain(const char *text, struct shunt_split_settings *settings)
{
	return parse_number(&text, 0, 86400, &settings->drain_s) && !*text;
}

static bool parse_empty(const char *text, struct shunt_split_settings *settings)
{
	settings->empty_policy =
		!strcmp(text, "redistribute") ? SHUNT_EMPTY_REDISTRIBUTE : SHUNT_EMPTY_REJECT;
	return settings->empty_policy == SHUNT_EMPTY_REDISTRIBUTE || !strcmp(text, "reject");
}

static bool parse_frontends(const char *text, struct shunt_split_settings *settings)
{
	settings->owned = !strcmp(text, "owned");
	return settings->owned || !strcmp(text, "shared");
}

static const struct {
	const char *key;
	bool (*parse)(const char *text, struct shunt_split_settings *settings);
	const char *values;
} annotations[] = {
	{ PREFIX "affinity", parse_affinity, "connection, hash or session" },
	{ PREFIX "affinity-prefix", parse_prefix, "\"1..32/1..128\"" },
	{ PREFIX "session-seconds", parse_session, "\"1\" to \"86400\"" },
	{ PREFIX "drain-seconds", parse_drain, "\"0\" to \"86400\"" },
	{ PREFIX "empty-variant", parse_empty, "reject or redistribute" },
	{ PREFIX "frontends", parse_frontends, "shared or owned" },
};

static int read_annotation(const struct shunt_node *node, const char *key,
			   struct shunt_split_settings *settings)
{
	const char *text;

	for (size_t i = 0; i < ARRAY_LEN(annotations); i++) {
		if (strcmp(annotations[i].key, key))
			continue;
		if (shunt_field_string(node, key, &text) <= 0)
			return shunt_field_error(node, -EINVAL, key, "must be a string: quote it");
		if (!annotations[i].parse(text, settings))
			return shunt_field_error(node, -EINVAL, key, "\"%.60s\" is not %s", text,
						 annotations[i].values);
		return 0;
	}
	return shunt_field_error(node, -EINVAL, key, "Shunt has no such annotation");
}

static int read_annotations(const struct shunt_object *object, struct shunt_err *err,
			    struct shunt_split_settings *settings)
{
	struct shunt_node root = shunt_field_root(object, err), metadata, list;
	json_t *value;
	const char *key;
	int r;

	r = shunt_field_object(&root, "metadata", &metadata);
	if (r > 0)
		r = shunt_field_object(&metadata, "annotations", &list);
	if (r <= 0)
		return r;
	json_object_foreach ((json_t *)list.json, key, value) {
		if (strncmp(key, PREFIX, strlen(PREFIX)))
			continue;
		r = read_annotation(&list, key, settings);
		if (r < 0)
			return r;
	}
	return 0;
}

int shunt_annotations_read(const struct shunt_translate_opts *opts,
			   const struct shunt_world_service *service,
			   const struct shunt_object *object, struct shunt_err *err,
			   struct shunt_split_settings *ret_settings)
{
	struct shunt_split_settings settings = {
		.affinity = {
			.kind = SHUNT_AFFINITY_CONNECTION,
			.timeout_s = DEFAULT_SESSION_S,
			.prefix_len_4 = 32,
			.prefix_len_6 = 128,
		},
		.drain_s = opts->default_drain_s,
		.empty_policy = SHUNT_EMPTY_REJECT,
		.owned = !service,
	};
	int r = 0;

	if (service) {
		settings.affinity.timeout_s = service->session_timeout_s;
		if (service->session_affinity)
			settings.affinity.kind = SHUNT_AFFINITY_SESSION;
		r = read_annotations(service->object, err, &settings);
	}
	if (!r)
		r = read_annotations(object, err, &settings);
	if (!r)
		*ret_settings = settings;
	return r;
}

int shunt_annotations_check(const struct shunt_object *object, struct shunt_err *err)
{
	struct shunt_split_settings ignored = { 0 };

	return read_annotations(object, err, &ignored);
}
