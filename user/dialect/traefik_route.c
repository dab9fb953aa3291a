// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "dialect/traefik.h"

/*
 * IngressRoute and IngressRouteTCP: the addresses of their entry points are split, by the
 * weights of one TraefikService, whose name the split then has, or of the Services that the
 * route lists itself, and then it has the route's. One route that matches everything; what
 * needs a proxy is refused.
 */

/* ---- the rule -------------------------------------------------------------------------- */

/* Is @match FUNCTION(`argument`), with either kind of quotes and any white space? */
static bool is_match(const char *match, const char *function, const char *argument)
{
	char text[40], wanted[2][40];
	size_t n = 0;

	for (; *match && n < sizeof(text) - 1; match++)
		if (!isspace((unsigned char)*match))
			text[n++] = *match;
	text[n] = '\0';
	snprintf(wanted[0], sizeof(wanted[0]), "%s(`%s`)", function, argument);
	snprintf(wanted[1], sizeof(wanted[1]), "%s(\"%s\")", function, argument);
	return !strcmp(text, wanted[0]) || !strcmp(text, wanted[1]);
}

static int check_match(const struct shunt_node *rule, bool http)
{
	const char *match = "";
	struct shunt_node node;
	int r = shunt_field_need(rule, "match", &node);

	if (r > 0)
		r = shunt_field_string(rule, "match", &match);
	if (r < 0)
		return r;
	if (http ? is_match(match, "PathPrefix", "/") : is_match(match, "HostSNI", "*"))
		return 0;
	return shunt_field_error(&node, -EOPNOTSUPP, NULL,
				 "\"%.80s\": Shunt splits whole connections, so the only match is "
				 "%s",
				 match, http ? "PathPrefix(`/`)" : "HostSNI(`*`)");
}

static int check_rule(const struct shunt_node *rule, bool http)
{
	static const char *const http_fields[] = { "kind", "match", "services", "middlewares",
						   NULL };
	static const char *const tcp_fields[] = { "match", "services", "middlewares", NULL };
	const char *kind = "Rule";
	int r = shunt_field_only(rule, http ? http_fields : tcp_fields);

	if (!r)
		r = shunt_field_string(rule, "kind", &kind);
	if (r >= 0 && strcmp(kind, "Rule"))
		r = shunt_field_error(rule, -EINVAL, "kind", "\"%.60s\" is not Rule", kind);
	return r < 0 ? r : check_match(rule, http);
}

static int read_rule(const struct shunt_node *spec, bool http, struct shunt_node *ret_rule,
		     struct shunt_node *ret_services)
{
	struct shunt_node list;
	int r = shunt_field_need(spec, "routes", &list);

	if (r > 0)
		r = shunt_field_list(spec, "routes", &list);
	if (r < 0)
		return r;
	if (shunt_field_length(&list) != 1)
		return shunt_field_error(&list, -EOPNOTSUPP, NULL,
					 "Shunt takes exactly one route, not %zu",
					 shunt_field_length(&list));
	r = shunt_field_item_object(&list, 0, ret_rule);
	if (!r)
		r = check_rule(ret_rule, http);
	if (!r)
		r = shunt_field_need(ret_rule, "services", ret_services);
	if (r > 0)
		r = shunt_field_list(ret_rule, "services", ret_services);
	return r < 0 ? r : 0;
}

/* ---- TLS ------------------------------------------------------------------------------- */

/* Bytes are not touched: what Traefik passes through is passed, what it decrypts is not. */
static int check_tls(const struct shunt_node *spec, bool http)
{
	static const char *const known[] = { "passthrough", NULL };
	struct shunt_node tls;
	bool passthrough = false;
	int r = shunt_field_object(spec, "tls", &tls);

	if (r <= 0)
		return r;
	r = http ? 0 : shunt_field_bool(&tls, "passthrough", &passthrough);
	if (r < 0)
		return r;
	if (!passthrough)
		return shunt_field_error(&tls, -EOPNOTSUPP, NULL,
					 "Shunt cannot end TLS connections: let the pods do it%s",
					 http ? " and write an IngressRouteTCP with "
						"tls.passthrough"
					      : ", with passthrough: true");
	return shunt_field_only(&tls, known);
}

/* ---- entry points ------------------------------------------------------------------------ */

/* Adds the addresses of one entry point; @name NULL: of all. Return: number, or -ENOMEM. */
static int add_entrypoint(const struct shunt_translate_opts *opts, const char *name,
			  struct shunt_request *request)
{
	int n = 0;

	for (size_t i = 0; i < opts->n_entrypoints; i++) {
		const struct shunt_entrypoint *entrypoint = &opts->entrypoints[i];

		if (name && strcmp(entrypoint->name, name))
			continue;
		if (shunt_request_add_addr(request, &entrypoint->ip, entrypoint->port) < 0)
			return -ENOMEM;
		n++;
	}
	return n;
}

static int add_entrypoints(const struct shunt_translate_opts *opts, const struct shunt_node *spec,
			   struct shunt_request *request)
{
	struct shunt_node list, item;
	const char *name = "";
	int r = shunt_field_list(spec, "entryPoints", &list);

	if (r < 0)
		return r;
	if (!r || !shunt_field_length(&list)) {
		r = add_entrypoint(opts, NULL, request);
		if (!r)
			r = shunt_field_error(spec, -EINVAL, "entryPoints",
					      "no --entrypoint NAME=ADDR:PORT is given: Shunt "
					      "knows no address to split");
		return r < 0 ? r : 0;
	}
	for (size_t i = 0; i < shunt_field_length(&list); i++) {
		item = shunt_field_item(&list, i);
		r = shunt_field_text(&item, &name);
		if (!r)
			r = add_entrypoint(opts, name, request);
		if (!r)
			r = shunt_field_error(&item, -EINVAL, NULL,
					      "no --entrypoint %.60s=ADDR:PORT is given", name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- what is behind ------------------------------------------------------------------------ */

/* Is the one service of the route a TraefikService? */
static int read_reference(struct shunt_translation *t, const struct shunt_node *services,
			  const struct shunt_object **ret_target)
{
	static const char *const known[] = { "name", "kind", "namespace", NULL };
	const char *kind = "Service", *name = NULL, *namespace_ = services->object->namespace_;
	struct shunt_node ref;
	int r;

	if (shunt_field_length(services) != 1)
		return 0;
	r = shunt_field_item_object(services, 0, &ref);
	if (!r)
		r = shunt_field_string(&ref, "kind", &kind);
	if (r < 0 || strcmp(kind, "TraefikService"))
		return r < 0 ? r : 0;
	r = shunt_field_only(&ref, known);
	if (!r)
		r = shunt_field_label(&ref, "name", &name);
	if (!r)
		r = shunt_field_error(&ref, -EINVAL, "name", "is required");
	if (r > 0)
		r = shunt_traefik_read_namespace(t, &ref, &namespace_);
	if (r < 0)
		return r;
	*ret_target = shunt_traefik_find(t, namespace_, name);
	if (!*ret_target)
		return shunt_field_error(&ref, -EINVAL, "name",
					 "TraefikService %s/%s does not exist", namespace_, name);
	return 1;
}

/* The split is the TraefikService's: its weights, its name, its annotations. */
static int add_referred(struct shunt_translation *t, const struct shunt_node *spec,
			const struct shunt_object *target, struct shunt_request **ret_request)
{
	struct shunt_node root = shunt_field_root(target, &t->err);
	struct shunt_conditions *conditions;
	struct shunt_request *request;
	int r = shunt_request_add(t, &root, target->namespace_, target->name, IPPROTO_TCP,
				  &request);

	if (!r)
		r = shunt_traefik_read_weighted(t, target, request);
	if (!r)
		r = add_entrypoints(t->opts, spec, request);
	if (r < 0)
		return r;
	*ret_request = request;
	conditions = shunt_report(&t->reports, spec->object);
	if (!conditions)
		return -ENOMEM;
	return shunt_conditions_set(conditions, "Accepted", "True", "Accepted",
				    "its entry points lead to TraefikService %s/%s: see there",
				    target->namespace_, target->name);
}

static int add_listed(struct shunt_translation *t, const struct shunt_node *spec,
		      const struct shunt_node *services, bool http,
		      struct shunt_request **ret_request)
{
	const struct shunt_object *object = spec->object;
	struct shunt_request *request;
	int r = shunt_request_add(t, services, object->namespace_, object->name, IPPROTO_TCP,
				  &request);

	if (!r)
		r = shunt_traefik_read_services(t, services, http, request);
	if (!r)
		r = add_entrypoints(t->opts, spec, request);
	if (!r)
		*ret_request = request;
	return r;
}

int shunt_translate_ingress_route(struct shunt_translation *t, const struct shunt_object *object)
{
	static const char *const known[] = { "entryPoints", "routes", "tls", NULL };
	bool http = !strcmp(object->kind, "IngressRoute");
	struct shunt_node spec, rule, services;
	const struct shunt_object *target = NULL;
	struct shunt_policy *policy = NULL;
	struct shunt_request *request = NULL;
	int r = shunt_field_spec(object, &t->err, &spec);

	if (!r)
		r = shunt_field_only(&spec, known);
	if (!r)
		r = check_tls(&spec, http);
	if (!r)
		r = read_rule(&spec, http, &rule, &services);
	if (!r)
		r = read_reference(t, &services, &target);
	if (r >= 0)
		r = shunt_traefik_read_middlewares(t, &rule, http, &policy);
	if (r >= 0)
		r = target ? add_referred(t, &spec, target, &request)
			   : add_listed(t, &spec, &services, http, &request);
	if (!request) {
		shunt_policy_free(policy);
		return r;
	}
	request->policy = policy;
	request->is_http = http;
	return r;
}
