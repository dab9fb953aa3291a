// SPDX-License-Identifier: Apache-2.0
#include "dialect/istio.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/*
 * VirtualService for the mesh: its hosts name the Services that are split; one http or tcp
 * route without a match. What needs a proxy is refused.
 */

/* ---- where it holds --------------------------------------------------------------------- */

static int check_gateways(const struct shunt_node *spec)
{
	struct shunt_node list, item;
	const char *text = "";
	int r = shunt_field_list(spec, "gateways", &list);

	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		item = shunt_field_item(&list, i);
		r = shunt_field_text(&item, &text);
		if (!r && strcmp(text, "mesh"))
			r = shunt_field_error(&item, -EOPNOTSUPP, NULL,
					      "\"%.80s\": Shunt splits Services for the mesh only, "
					      "not behind a Gateway",
					      text);
		else if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

/* ---- the one route ------------------------------------------------------------------------ */

/* An http match that matches everything: empty, or the prefix "/". */
static int check_http_match(const struct shunt_node *match)
{
	static const char *const known[] = { "name", "uri", NULL };
	static const char *const uri_fields[] = { "prefix", NULL };
	struct shunt_node uri;
	const char *prefix = "/";
	int r = shunt_field_only(match, known);

	if (!r)
		r = shunt_field_object(match, "uri", &uri);
	if (r <= 0)
		return r;
	r = shunt_field_only(&uri, uri_fields);
	if (!r)
		r = shunt_field_string(&uri, "prefix", &prefix);
	if (r >= 0 && strcmp(prefix, "/"))
		r = shunt_field_error(&uri, -EOPNOTSUPP, "prefix",
				      "Shunt splits connections: the only prefix is \"/\"");
	return r < 0 ? r : 0;
}

/* A tcp match may choose one port of the Service. */
static int read_tcp_match(const struct shunt_node *match, uint16_t *ret_port)
{
	static const char *const known[] = { "port", NULL };
	int r = shunt_field_only(match, known);

	if (!r)
		r = shunt_field_port(match, "port", ret_port);
	return r < 0 ? r : 0;
}

static int read_match(const struct shunt_node *route, bool http, uint16_t *ret_port)
{
	struct shunt_node list, match;
	int r = shunt_field_list(route, "match", &list);

	if (r <= 0 || !shunt_field_length(&list))
		return r < 0 ? r : 0;
	if (shunt_field_length(&list) > 1)
		return shunt_field_error(&list, -EOPNOTSUPP, NULL, "Shunt takes at most one match");
	r = shunt_field_item_object(&list, 0, &match);
	if (r < 0)
		return r;
	return http ? check_http_match(&match) : read_tcp_match(&match, ret_port);
}

static int read_entry(const struct shunt_node *list, bool http, struct shunt_node *ret_route,
		      uint16_t *ret_port)
{
	static const char *const http_fields[] = { "name", "match", "route", NULL };
	static const char *const tcp_fields[] = { "match", "route", NULL };
	struct shunt_node entry;
	int r;

	if (shunt_field_length(list) != 1)
		return shunt_field_error(list, -EOPNOTSUPP, NULL,
					 "Shunt takes exactly one route, not %zu",
					 shunt_field_length(list));
	r = shunt_field_item_object(list, 0, &entry);
	if (!r)
		r = shunt_field_only(&entry, http ? http_fields : tcp_fields);
	if (!r)
		r = read_match(&entry, http, ret_port);
	if (!r)
		r = shunt_field_need(&entry, "route", ret_route);
	if (r > 0)
		r = shunt_field_list(&entry, "route", ret_route);
	if (r > 0 && !shunt_field_length(ret_route))
		r = shunt_field_error(ret_route, -EINVAL, NULL,
				      "must name at least one destination");
	return r < 0 ? r : 0;
}

/* The destinations of the one http or tcp route. *ret_port: of the Service; 0: all. */
static int read_route(const struct shunt_node *spec, struct shunt_node *ret_route,
		      uint16_t *ret_port)
{
	struct shunt_node http, tcp;
	int has_http = shunt_field_list(spec, "http", &http);
	int has_tcp = shunt_field_list(spec, "tcp", &tcp);

	if (has_http < 0 || has_tcp < 0)
		return has_http < 0 ? has_http : has_tcp;
	has_http = has_http && shunt_field_length(&http);
	has_tcp = has_tcp && shunt_field_length(&tcp);
	if (has_http && has_tcp)
		return shunt_field_error(&tcp, -EOPNOTSUPP, NULL,
					 "Shunt takes one route: http or tcp, not both");
	if (!has_http && !has_tcp)
		return shunt_field_error(spec, -EINVAL, "http",
					 "there must be one route, http or tcp");
	return read_entry(has_http ? &http : &tcp, has_http, ret_route, ret_port);
}

/* ---- destinations ------------------------------------------------------------------------ */

struct destination {
	struct shunt_node at;
	struct shunt_istio_host host;
	const char *subset; /* NULL: none */
	uint16_t port;	    /* 0: as the frontend's */
};

static int read_destination(const struct shunt_translation *t, const struct shunt_node *entry,
			    struct destination *ret)
{
	static const char *const entry_fields[] = { "destination", "weight", NULL };
	static const char *const known[] = { "host", "subset", "port", NULL };
	static const char *const port_fields[] = { "number", NULL };
	struct shunt_node host, port;
	int r = shunt_field_only(entry, entry_fields);

	*ret = (struct destination){ .subset = NULL };
	if (!r)
		r = shunt_field_need(entry, "destination", &ret->at);
	if (r > 0)
		r = shunt_field_object(entry, "destination", &ret->at);
	if (r > 0)
		r = shunt_field_only(&ret->at, known);
	if (!r)
		r = shunt_field_need(&ret->at, "host", &host);
	if (r > 0)
		r = shunt_istio_read_host(t, &host, &ret->host);
	if (!r)
		r = shunt_field_label(&ret->at, "subset", &ret->subset);
	if (r >= 0)
		r = shunt_field_object(&ret->at, "port", &port);
	if (r > 0)
		r = shunt_field_only(&port, port_fields);
	else
		return r;
	if (!r)
		r = shunt_field_need(&port, "number", &host);
	if (r > 0)
		r = shunt_field_port(&port, "number", &ret->port);
	return r < 0 ? r : 0;
}

/* Are there any Pods of @namespace_ among the objects? Without them nothing has labels. */
static bool knows_pods(const struct shunt_translation *t, const char *namespace_)
{
	const struct shunt_object *pod;
	size_t pos = 0;

	while ((pod = shunt_world_next(&t->world, "", "Pod", &pos)))
		if (!strcmp(pod->namespace_, namespace_))
			return true;
	return false;
}

/* Istio answers 503 for the share of a subset that is not there; so the variant rejects. */
static void set_missing(const struct destination *destination,
			struct shunt_request_variant *variant, bool has_rule)
{
	variant->group = SHUNT_GROUP_NOT_FOUND;
	variant->group_reason = "BackendNotFound";
	if (has_rule)
		snprintf(variant->group_message, sizeof(variant->group_message),
			 "subset %s needs labels, but no Pod of namespace %s is among the objects",
			 destination->subset, destination->host.namespace_);
	else
		snprintf(variant->group_message, sizeof(variant->group_message),
			 "no DestinationRule of %s/%s has a subset %s",
			 destination->host.namespace_, destination->host.service,
			 destination->subset);
}

static int add_destination(struct shunt_translation *t, const struct shunt_node *entry,
			   uint32_t weight, struct shunt_request *request)
{
	struct shunt_request_variant *variant;
	struct destination destination;
	const char *name;
	int r = read_destination(t, entry, &destination);

	if (r < 0)
		return r;
	name = destination.subset ? destination.subset : destination.host.service;
	r = shunt_request_add_variant(request, &destination.at, name, weight,
				      destination.host.namespace_, destination.host.service,
				      &variant);
	if (r < 0)
		return r;
	variant->port = destination.port;
	if (!destination.subset)
		return 0;
	snprintf(variant->subset, sizeof(variant->subset), "%s", destination.subset);
	r = shunt_istio_find_subset(t, entry->object->namespace_, &destination.host,
				    destination.subset, &variant->labels);
	if (r < 0)
		return r;
	if (!r ||
	    (json_object_size(variant->labels) && !knows_pods(t, destination.host.namespace_)))
		set_missing(&destination, variant, r);
	return 0;
}

/* A missing weight is 0; the only destination gets everything, whatever it says. */
static int read_weights(const struct shunt_node *route, uint32_t weights[SHUNT_MAX_VARIANTS])
{
	size_t n = shunt_field_length(route);
	uint64_t sum = 0;

	if (n > SHUNT_MAX_VARIANTS)
		return shunt_field_error(route, -EINVAL, NULL, "at most %d destinations",
					 SHUNT_MAX_VARIANTS);
	for (size_t i = 0; i < n; i++) {
		struct shunt_node entry;
		int64_t weight = 0;
		int r = shunt_field_item_object(route, i, &entry);

		if (!r)
			r = shunt_field_int(&entry, "weight", 0, SHUNT_MAX_WEIGHT, &weight);
		if (r < 0)
			return r;
		weights[i] = weight;
		sum += weight;
	}
	if (!sum && n > 1)
		return shunt_field_error(route, -EINVAL, NULL, "all weights are 0");
	if (!sum)
		weights[0] = 100;
	return 0;
}

static int add_host(struct shunt_translation *t, const struct shunt_node *host,
		    const struct shunt_node *route, uint16_t port)
{
	uint32_t weights[SHUNT_MAX_VARIANTS];
	struct shunt_istio_host found;
	struct shunt_request *request;
	int r = shunt_istio_read_host(t, host, &found);

	if (!r)
		r = read_weights(route, weights);
	if (!r)
		r = shunt_request_add(t, host, found.namespace_, found.service, IPPROTO_TCP,
				      &request);
	if (r < 0)
		return r;
	request->port = port;
	for (size_t i = 0; !r && i < shunt_field_length(route); i++) {
		struct shunt_node entry = shunt_field_item(route, i);

		r = add_destination(t, &entry, weights[i], request);
	}
	return r;
}

int shunt_translate_virtual_service(struct shunt_translation *t, const struct shunt_object *object)
{
	static const char *const known[] = { "hosts", "gateways", "http", "tcp", "exportTo", NULL };
	struct shunt_node spec, hosts, host, route;
	uint16_t port = 0;
	int r = shunt_field_spec(object, &t->err, &spec);

	if (!r)
		r = shunt_field_only(&spec, known);
	if (!r)
		r = check_gateways(&spec);
	if (!r)
		r = shunt_istio_check_export(&spec);
	if (!r)
		r = read_route(&spec, &route, &port);
	if (!r)
		r = shunt_field_need(&spec, "hosts", &hosts);
	if (r > 0)
		r = shunt_field_list(&spec, "hosts", &hosts);
	if (r > 0 && !shunt_field_length(&hosts))
		r = shunt_field_error(&hosts, -EINVAL, NULL, "must name at least one Service");
	for (size_t i = 0; r >= 0 && i < shunt_field_length(&hosts); i++) {
		host = shunt_field_item(&hosts, i);
		r = add_host(t, &host, &route, port);
	}
	return r < 0 ? r : 0;
}
