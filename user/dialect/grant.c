// SPDX-License-Identifier: Apache-2.0
#include "dialect/grant.h"

#include <errno.h>
#include <string.h>

#define GATEWAY "gateway.networking.k8s.io"

/* One entry of spec.from or spec.to: group and kind, and a namespace or a name. */
static int read_entry(const struct shunt_node *entry, const char *last, bool last_is_needed)
{
	const char *const known[] = { "group", "kind", last, NULL };
	const char *text = NULL;
	int r;

	r = shunt_field_only(entry, known);
	if (r >= 0)
		r = shunt_field_string(entry, "group", &text);
	if (r >= 0)
		r = shunt_field_string(entry, "kind", &text);
	if (r >= 0 && !text)
		r = shunt_field_error(entry, -EINVAL, "kind", "is required");
	text = NULL;
	if (r >= 0)
		r = shunt_field_label(entry, last, &text);
	if (r >= 0 && last_is_needed && !text)
		r = shunt_field_error(entry, -EINVAL, last, "is required");
	return r < 0 ? r : 0;
}

static int read_entries(const struct shunt_node *spec, const char *key, const char *last,
			bool last_is_needed)
{
	struct shunt_node list, entry;
	int r = shunt_field_list(spec, key, &list);

	if (!r)
		r = shunt_field_error(spec, -EINVAL, key, "is required");
	for (size_t i = 0; r >= 0 && i < shunt_field_length(&list); i++) {
		r = shunt_field_item_object(&list, i, &entry);
		if (r >= 0)
			r = read_entry(&entry, last, last_is_needed);
	}
	return r < 0 ? r : 0;
}

int shunt_translate_reference_grant(struct shunt_translation *t, const struct shunt_object *object)
{
	static const char *const known[] = { "from", "to", NULL };
	struct shunt_node spec;
	int r = shunt_field_spec(object, &t->err, &spec);

	if (r >= 0)
		r = shunt_field_only(&spec, known);
	if (r >= 0)
		r = read_entries(&spec, "from", "namespace", true);
	return r < 0 ? r : read_entries(&spec, "to", "name", false);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool lists_route(const json_t *spec, const struct shunt_object *route)
{
	const json_t *from;
	size_t i;

	json_array_foreach (json_object_get(spec, "from"), i, from)
		if (!strcmp(text_of(from, "group"), GATEWAY) &&
		    !strcmp(text_of(from, "kind"), route->kind) &&
		    !strcmp(text_of(from, "namespace"), route->namespace_))
			return true;
	return false;
}

static bool lists_service(const json_t *spec, const char *name)
{
	const json_t *to;
	size_t i;

	json_array_foreach (json_object_get(spec, "to"), i, to)
		if (!*text_of(to, "group") && !strcmp(text_of(to, "kind"), "Service") &&
		    (!*text_of(to, "name") || !strcmp(text_of(to, "name"), name)))
			return true;
	return false;
}

bool shunt_grant_allows(const struct shunt_world *world, const struct shunt_object *route,
			const char *namespace_, const char *name)
{
	const struct shunt_object *grant;
	size_t pos = 0;

	if (!strcmp(route->namespace_, namespace_))
		return true;
	while ((grant = shunt_world_next(world, GATEWAY, "ReferenceGrant", &pos))) {
		const json_t *spec = json_object_get(grant->json, "spec");

		if (!strcmp(grant->namespace_, namespace_) && lists_route(spec, route) &&
		    lists_service(spec, name))
			return true;
	}
	return false;
}
