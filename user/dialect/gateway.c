// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "dialect/grant.h"
#include "dialect/request.h"

/*
 * Gateway API routes whose parent is a Service (GAMMA): HTTPRoute, TCPRoute, UDPRoute. Only
 * what a split per connection can honour is taken; the rest is refused, never left out.
 */

static bool is_core_group(const char *group)
{
	return !*group || !strcmp(group, "core"); /* Flagger's and GAMMA's documents say "core" */
}

/* Checks one parentRef and finds the Service it names. */
static int read_parent(const struct shunt_node *parent, const char **ret_name, uint16_t *ret_port)
{
	static const char *const known[] = { "group", "kind", "namespace", "name", "port", NULL };
	const char *group = "gateway.networking.k8s.io", *kind = "Gateway";
	const char *namespace_ = parent->object->namespace_;
	int r;

	r = shunt_field_string(parent, "group", &group);
	if (r >= 0)
		r = shunt_field_string(parent, "kind", &kind);
	if (r < 0)
		return r;
	if (!is_core_group(group) || strcmp(kind, "Service"))
		return shunt_field_error(parent, -EOPNOTSUPP, "kind",
					 "Shunt splits Services only, not a %.60s of \"%.80s\"",
					 kind, group);
	r = shunt_field_only(parent, known);
	if (!r)
		r = shunt_field_label(parent, "namespace", &namespace_);
	if (r < 0)
		return r;
	if (strcmp(namespace_, parent->object->namespace_))
		return shunt_field_error(parent, -EOPNOTSUPP, "namespace",
					 "consumer routes come later: write the route in the "
					 "Service's namespace, %s",
					 namespace_);
	r = shunt_field_label(parent, "name", ret_name);
	if (!r)
		r = shunt_field_error(parent, -EINVAL, "name", "is required");
	return r < 0 ? r : shunt_field_port(parent, "port", ret_port);
}

/* Reads group and kind of a backendRef: what is no Service rejects its share. */
static int read_backend_kind(const struct shunt_node *ref, struct shunt_request_variant *variant)
{
	const char *group = "", *kind = "Service";
	int r;

	r = shunt_field_string(ref, "group", &group);
	if (r >= 0)
		r = shunt_field_string(ref, "kind", &kind);
	if (r < 0)
		return r;
	if (is_core_group(group) && !strcmp(kind, "Service"))
		return 0;
	variant->group = SHUNT_GROUP_INVALID;
	variant->group_reason = "InvalidKind";
	snprintf(variant->group_message, sizeof(variant->group_message),
		 "a %.40s of \"%.60s\" is not a Service", kind, group);
	return 0;
}

/* Another namespace's Service, where grants are asked for and there is none. */
static void check_grant(const struct shunt_translation *t, const struct shunt_node *ref,
			struct shunt_request_variant *variant)
{
	if (!t->opts->require_reference_grants || variant->group != SHUNT_GROUP_RESOLVED ||
	    shunt_grant_allows(&t->world, ref->object, variant->namespace_, variant->service))
		return;
	variant->group = SHUNT_GROUP_FORBIDDEN;
	variant->group_reason = "RefNotPermitted";
	snprintf(variant->group_message, sizeof(variant->group_message),
		 "no ReferenceGrant in namespace %.63s lets %.40ss of %.63s refer to it",
		 variant->namespace_, ref->object->kind, ref->object->namespace_);
}

static int add_backend(const struct shunt_translation *t, struct shunt_request *request,
		       const struct shunt_node *ref)
{
	static const char *const known[] = { "group", "kind",	"name", "namespace",
					     "port",  "weight", NULL };
	const char *name = NULL, *namespace_ = ref->object->namespace_;
	struct shunt_request_variant *variant;
	int64_t weight = 1;
	int r;

	r = shunt_field_only(ref, known);
	if (!r)
		r = shunt_field_label(ref, "name", &name);
	if (r >= 0 && !name)
		r = shunt_field_error(ref, -EINVAL, "name", "is required");
	if (r >= 0)
		r = shunt_field_label(ref, "namespace", &namespace_);
	if (r >= 0)
		r = shunt_field_int(ref, "weight", 0, SHUNT_MAX_WEIGHT, &weight);
	if (r >= 0)
		r = shunt_request_add_variant(request, ref, name, weight, namespace_, name,
					      &variant);
	if (r >= 0)
		r = read_backend_kind(ref, variant);
	if (r >= 0)
		check_grant(t, ref, variant);
	if (r >= 0)
		r = shunt_field_port(ref, "port", &variant->port);
	if (!r && variant->group == SHUNT_GROUP_RESOLVED)
		r = shunt_field_error(ref, -EINVAL, "port", "is required for a Service");
	return r < 0 ? r : 0;
}

static int add_backends(const struct shunt_translation *t, struct shunt_request *request,
			const struct shunt_node *rule)
{
	struct shunt_node list, ref;
	int r = shunt_field_need(rule, "backendRefs", &list);

	if (r > 0)
		r = shunt_field_list(rule, "backendRefs", &list);
	if (r > 0 && !shunt_field_length(&list))
		r = shunt_field_error(&list, -EINVAL, NULL, "must name at least one Service");
	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		r = shunt_field_item_object(&list, i, &ref);
		if (!r)
			r = add_backend(t, request, &ref);
		if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

/* Is @match the one that matches everything, PathPrefix "/"? */
static int check_match(const struct shunt_node *match)
{
	static const char *const match_fields[] = { "path", NULL };
	static const char *const path_fields[] = { "type", "value", NULL };
	const char *type = "PathPrefix", *value = "/";
	struct shunt_node path;
	int r = shunt_field_only(match, match_fields);

	if (!r)
		r = shunt_field_object(match, "path", &path);
	if (r <= 0)
		return r;
	r = shunt_field_only(&path, path_fields);
	if (!r)
		r = shunt_field_string(&path, "type", &type);
	if (r >= 0 && strcmp(type, "PathPrefix"))
		r = shunt_field_error(&path, -EOPNOTSUPP, "type",
				      "Shunt splits connections and cannot match paths");
	if (r >= 0)
		r = shunt_field_string(&path, "value", &value);
	if (r >= 0 && strcmp(value, "/"))
		r = shunt_field_error(&path, -EOPNOTSUPP, "value",
				      "Shunt splits connections: the only path is \"/\"");
	return r < 0 ? r : 0;
}

static int check_matches(const struct shunt_node *rule)
{
	struct shunt_node list, match;
	int r = shunt_field_list(rule, "matches", &list);

	if (r <= 0 || !shunt_field_length(&list))
		return r < 0 ? r : 0;
	if (shunt_field_length(&list) > 1)
		return shunt_field_error(&list, -EOPNOTSUPP, NULL,
					 "Shunt splits connections: at most the one match "
					 "PathPrefix \"/\"");
	r = shunt_field_item_object(&list, 0, &match);
	return r < 0 ? r : check_match(&match);
}

/* The one rule of the route at @spec. */
static int read_rule(const struct shunt_node *spec, bool http, struct shunt_node *ret_rule)
{
	static const char *const http_fields[] = { "name", "matches", "backendRefs", NULL };
	static const char *const plain_fields[] = { "name", "backendRefs", NULL };
	struct shunt_node list;
	int r = shunt_field_need(spec, "rules", &list);

	if (r > 0)
		r = shunt_field_list(spec, "rules", &list);
	if (r < 0)
		return r;
	if (shunt_field_length(&list) != 1)
		return shunt_field_error(&list, -EOPNOTSUPP, NULL,
					 "Shunt takes exactly one rule, not %zu",
					 shunt_field_length(&list));
	r = shunt_field_item_object(&list, 0, ret_rule);
	if (!r)
		r = shunt_field_only(ret_rule, http ? http_fields : plain_fields);
	return r < 0 || !http ? r : check_matches(ret_rule);
}

static int add_parent(struct shunt_translation *t, const struct shunt_node *parent,
		      const struct shunt_node *rule, uint8_t proto)
{
	struct shunt_request *request;
	const char *name = NULL;
	uint16_t port = 0;
	int r;

	r = read_parent(parent, &name, &port);
	if (r >= 0)
		r = shunt_request_add(t, parent, parent->object->namespace_, name, proto, &request);
	if (r < 0)
		return r;
	request->port = port;
	return add_backends(t, request, rule);
}

static int read_spec(const struct shunt_object *object, struct shunt_err *err, bool http,
		     struct shunt_node *ret_spec)
{
	/* hostnames do not apply to mesh routes (GAMMA): the Service's address decides. */
	static const char *const http_fields[] = { "parentRefs", "rules", "hostnames", NULL };
	static const char *const plain_fields[] = { "parentRefs", "rules", NULL };
	int r = shunt_field_spec(object, err, ret_spec);

	return r < 0 ? r : shunt_field_only(ret_spec, http ? http_fields : plain_fields);
}

int shunt_translate_route(struct shunt_translation *t, const struct shunt_object *object)
{
	bool http = !strcmp(object->kind, "HTTPRoute");
	uint8_t proto = !strcmp(object->kind, "UDPRoute") ? IPPROTO_UDP : IPPROTO_TCP;
	struct shunt_node spec, parents, parent, rule;
	int r = read_spec(object, &t->err, http, &spec);

	if (!r)
		r = shunt_field_need(&spec, "parentRefs", &parents);
	if (r > 0)
		r = shunt_field_list(&spec, "parentRefs", &parents);
	if (r > 0 && !shunt_field_length(&parents))
		r = shunt_field_error(&parents, -EINVAL, NULL, "must name at least one Service");
	if (r > 0)
		r = read_rule(&spec, http, &rule);
	for (size_t i = 0; r >= 0 && i < shunt_field_length(&parents); i++) {
		r = shunt_field_item_object(&parents, i, &parent);
		if (!r)
			r = add_parent(t, &parent, &rule, proto);
	}
	return r < 0 ? r : 0;
}
