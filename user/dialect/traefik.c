// SPDX-License-Identifier: Apache-2.0
#include "dialect/traefik.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/*
 * TraefikService, kind weighted: it splits the Service of its own name, and, through the
 * routes that refer to it (traefik_route.c), entry points. What needs a proxy is refused.
 */

static const char *const groups[] = { "traefik.io", "traefik.containo.us" };

const struct shunt_object *shunt_traefik_find_kind(const struct shunt_translation *t,
						   const char *kind, const char *namespace_,
						   const char *name)
{
	const struct shunt_object *found = NULL;

	for (size_t i = 0; !found && i < ARRAY_LEN(groups); i++)
		found = shunt_world_object(&t->world, groups[i], kind, namespace_, name);
	return found;
}

const struct shunt_object *shunt_traefik_find(const struct shunt_translation *t,
					      const char *namespace_, const char *name)
{
	return shunt_traefik_find_kind(t, "TraefikService", namespace_, name);
}

int shunt_traefik_read_namespace(const struct shunt_translation *t, const struct shunt_node *ref,
				 const char **ret_namespace)
{
	int r = shunt_field_label(ref, "namespace", ret_namespace);

	if (r > 0 && strcmp(*ret_namespace, ref->object->namespace_) &&
	    !t->opts->allow_cross_namespace)
		return shunt_field_error(ref, -EOPNOTSUPP, "namespace",
					 "%s is another namespace than the object's own, %s: only "
					 "with --allow-cross-namespace",
					 *ret_namespace, ref->object->namespace_);
	return r < 0 ? r : 0;
}

/* ---- one weighted service -------------------------------------------------------------- */

static int read_port(const struct shunt_node *ref, struct shunt_request_variant *variant)
{
	struct shunt_node port;
	const char *name = "";
	int r = shunt_field_need(ref, "port", &port);

	if (r < 0)
		return r;
	if (!json_is_string(port.json)) {
		r = shunt_field_port(ref, "port", &variant->port);
		return r < 0 ? r : 0;
	}
	r = shunt_field_label(ref, "port", &name);
	if (r < 0)
		return r;
	snprintf(variant->port_name, sizeof(variant->port_name), "%s", name);
	return 0;
}

/* A switch that may only stand where the default has it. */
static int check_bool(const struct shunt_node *ref, const char *key, bool wanted, const char *why)
{
	bool value = wanted;
	int r = shunt_field_bool(ref, key, &value);

	if (r < 0 || value == wanted)
		return r < 0 ? r : 0;
	return shunt_field_error(ref, -EOPNOTSUPP, key, "%s", why);
}

/* A text that may only be @wanted or @alias, another word for it. */
static int check_text(const struct shunt_node *ref, const char *key, const char *wanted,
		      const char *alias, const char *why)
{
	const char *value = wanted;
	int r = shunt_field_string(ref, key, &value);

	if (r < 0 || !strcmp(value, wanted) || !strcmp(value, alias))
		return r < 0 ? r : 0;
	return shunt_field_error(ref, -EOPNOTSUPP, key, "%s", why);
}

/* Fields that are honoured at their defaults by touching no byte of a connection. */
static int check_defaults(const struct shunt_node *ref)
{
	int r = check_bool(ref, "passHostHeader", true,
			   "Shunt changes no bytes: the Host header is always passed");

	if (!r)
		r = check_bool(ref, "nativeLB", false, "Shunt splits to endpoints itself");
	if (!r)
		r = check_bool(ref, "nodePortLB", false, "Shunt splits to endpoints itself");
	if (!r)
		r = check_text(ref, "scheme", "http", "http",
			       "Shunt changes no bytes: it cannot speak another protocol to the "
			       "Service");
	if (!r)
		r = check_text(ref, "strategy", "wrr", "RoundRobin",
			       "Shunt places connections by a consistent hash");
	return r;
}

static int check_sticky(const struct shunt_node *node)
{
	struct shunt_node sticky;

	if (shunt_field_any(node, "sticky", &sticky) <= 0)
		return 0;
	return shunt_field_error(&sticky, -EOPNOTSUPP, NULL,
				 "Shunt cannot set cookies: remove it, and annotate the object "
				 "with shunt.io/affinity: hash or session to keep a client on "
				 "its variant");
}

static int check_kind(const struct shunt_node *ref)
{
	const char *kind = "Service";
	int r = shunt_field_string(ref, "kind", &kind);

	if (r < 0 || !strcmp(kind, "Service"))
		return r < 0 ? r : 0;
	return shunt_field_error(ref, -EOPNOTSUPP, "kind",
				 "a %.60s inside of weighted services is not supported, only a "
				 "Service",
				 kind);
}

static int check_service(const struct shunt_node *ref, bool http)
{
	static const char *const http_fields[] = { "name",	 "kind",     "namespace",
						   "port",	 "weight",   "passHostHeader",
						   "scheme",	 "strategy", "nativeLB",
						   "nodePortLB", NULL };
	static const char *const tcp_fields[] = { "name",     "namespace",  "port", "weight",
						  "nativeLB", "nodePortLB", "kind", NULL };
	int r = check_kind(ref);

	if (!r)
		r = check_sticky(ref);
	if (!r)
		r = shunt_field_only(ref, http ? http_fields : tcp_fields);
	return r ? r : check_defaults(ref);
}

static int add_service(struct shunt_translation *t, const struct shunt_node *ref, bool http,
		       struct shunt_request *request)
{
	const char *name = NULL, *namespace_ = ref->object->namespace_;
	struct shunt_request_variant *variant;
	int64_t weight = 1;
	int r = check_service(ref, http);

	if (!r)
		r = shunt_field_label(ref, "name", &name);
	if (r >= 0 && !name)
		r = shunt_field_error(ref, -EINVAL, "name", "is required");
	if (r >= 0)
		r = shunt_traefik_read_namespace(t, ref, &namespace_);
	if (!r)
		r = shunt_field_int(ref, "weight", 0, SHUNT_MAX_WEIGHT, &weight);
	if (r >= 0)
		r = shunt_request_add_variant(request, ref, name, weight, namespace_, name,
					      &variant);
	return r < 0 ? r : read_port(ref, variant);
}

int shunt_traefik_read_services(struct shunt_translation *t, const struct shunt_node *list,
				bool http, struct shunt_request *request)
{
	struct shunt_node ref;
	int r = 0;

	if (!shunt_field_length(list))
		return shunt_field_error(list, -EINVAL, NULL, "must name at least one Service");
	for (size_t i = 0; !r && i < shunt_field_length(list); i++) {
		r = shunt_field_item_object(list, i, &ref);
		if (!r)
			r = add_service(t, &ref, http, request);
	}
	return r;
}

/* ---- TraefikService --------------------------------------------------------------------- */

static int check_spec(const struct shunt_node *spec)
{
	static const char *const known[] = { "weighted", NULL };
	struct shunt_node other;

	if (shunt_field_any(spec, "highestRandomWeight", &other) > 0)
		return shunt_field_error(&other, -EOPNOTSUPP, NULL,
					 "is not supported: write weighted, and annotate the "
					 "object with shunt.io/affinity: hash");
	return shunt_field_only(spec, known);
}

int shunt_traefik_read_weighted(struct shunt_translation *t, const struct shunt_object *object,
				struct shunt_request *request)
{
	static const char *const known[] = { "services", NULL };
	struct shunt_node spec, weighted, list;
	int r = shunt_field_spec(object, &t->err, &spec);

	if (!r)
		r = check_spec(&spec);
	if (!r)
		r = shunt_field_need(&spec, "weighted", &weighted);
	if (r > 0)
		r = shunt_field_object(&spec, "weighted", &weighted);
	if (r > 0)
		r = check_sticky(&weighted);
	if (!r)
		r = shunt_field_only(&weighted, known);
	if (!r)
		r = shunt_field_need(&weighted, "services", &list);
	if (r > 0)
		r = shunt_field_list(&weighted, "services", &list);
	return r < 0 ? r : shunt_traefik_read_services(t, &list, true, request);
}

/* Does @route name the TraefikService @object? Whether the route is right does not matter. */
static bool route_uses(const struct shunt_object *route, const struct shunt_object *object)
{
	const json_t *spec = json_object_get(route->json, "spec"), *rule, *ref;
	size_t i, j;

	json_array_foreach (json_object_get(spec, "routes"), i, rule) {
		json_array_foreach (json_object_get(rule, "services"), j, ref) {
			const char *kind = json_string_value(json_object_get(ref, "kind"));
			const char *name = json_string_value(json_object_get(ref, "name"));
			const char *ns = json_string_value(json_object_get(ref, "namespace"));

			if (kind && name && !strcmp(kind, "TraefikService") &&
			    !strcmp(name, object->name) &&
			    !strcmp(ns ? ns : route->namespace_, object->namespace_))
				return true;
		}
	}
	return false;
}

static bool is_used(const struct shunt_translation *t, const struct shunt_object *object)
{
	static const char *const kinds[] = { "IngressRoute", "IngressRouteTCP" };

	for (size_t i = 0; i < ARRAY_LEN(groups) * ARRAY_LEN(kinds); i++) {
		const struct shunt_object *route;
		size_t pos = 0;

		while ((route = shunt_world_next(&t->world, groups[i / 2], kinds[i % 2], &pos)))
			if (route_uses(route, object))
				return true;
	}
	return false;
}

/* Nothing leads to it, or only entry points do. */
static int report_serviceless(struct shunt_translation *t, const struct shunt_object *object)
{
	struct shunt_conditions *conditions;

	if (is_used(t, object))
		return 0; /* reported with the routes */
	conditions = shunt_report(&t->reports, object);
	if (!conditions)
		return -ENOMEM;
	return shunt_conditions_set(conditions, "Accepted", "False", "NoMatchingParent",
				    "%s%ssplits nothing: there is neither a Service %s/%s nor an "
				    "IngressRoute that leads to it",
				    object->file, object->file[0] ? ": " : "", object->namespace_,
				    object->name);
}

int shunt_translate_traefik_service(struct shunt_translation *t, const struct shunt_object *object)
{
	struct shunt_node root = shunt_field_root(object, &t->err);
	struct shunt_request *request;
	size_t before = t->n_requests;
	int r = shunt_request_add(t, &root, object->namespace_, object->name, IPPROTO_TCP,
				  &request);

	if (!r)
		r = shunt_traefik_read_weighted(t, object, request);
	if (r < 0 || shunt_world_service(&t->world, object->namespace_, object->name))
		return r;
	shunt_requests_drop(t, before);
	return report_serviceless(t, object);
}
