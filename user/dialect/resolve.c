// SPDX-License-Identifier: Apache-2.0
#include "dialect/resolve.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "dialect/policies.h"
#include "dialect/settings.h"

/* One run: the model services so far, each with the request that it came from. */
struct resolver {
	struct shunt_translation *t;
	struct shunt_model *model;
	const struct shunt_request **origins;
	size_t n_origins;
	size_t group; /* first model service with the present namespace and name */
};

/* ---- what becomes of a request ------------------------------------------------------------ */

static int accept_request(struct resolver *rv, const struct shunt_request *request)
{
	return shunt_report_accept_part(&rv->t->reports, request->object, "splits %s/%s",
					request->namespace_, request->name);
}

/* ---- ports --------------------------------------------------------------------------------- */

static int add_port(struct shunt_model_service *service, const char *name, uint16_t number,
		    uint8_t proto, enum shunt_port_http http)
{
	struct shunt_port *port;

	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].port == number && service->ports[i].proto == proto)
			return 0;
	port = shunt_array_add(&service->ports, &service->n_ports, sizeof(*port));
	if (!port)
		return -ENOMEM;
	port->name = strdup(name);
	port->port = number;
	port->proto = proto;
	port->http = http;
	return port->name ? 0 : -ENOMEM;
}

static bool same_variants(const struct shunt_request *a, const struct shunt_request *b)
{
	if (a->n_variants != b->n_variants)
		return false;
	for (size_t i = 0; i < a->n_variants; i++) {
		const struct shunt_request_variant *x = &a->variants[i], *y = &b->variants[i];

		if (x->weight != y->weight || x->port != y->port || x->group != y->group ||
		    strcmp(x->name, y->name) || strcmp(x->namespace_, y->namespace_) ||
		    strcmp(x->service, y->service) || strcmp(x->port_name, y->port_name) ||
		    (x->labels != y->labels && !json_equal(x->labels, y->labels)))
			return false;
	}
	return true;
}

/* Index of the model service in the present group that has this port, or -1. */
static ssize_t find_claim(const struct resolver *rv, uint16_t number, uint8_t proto)
{
	/* The last one is the one being built. */
	for (size_t s = rv->group; s + 1 < rv->model->n_services; s++) {
		const struct shunt_model_service *service = &rv->model->services[s];

		for (size_t i = 0; i < service->n_ports; i++)
			if (service->ports[i].port == number && service->ports[i].proto == proto)
				return s;
	}
	return -1;
}

/*
 * One port that the request asks for. It is free; or taken by a request with the same
 * variants, and then its addresses join that service (a TraefikService that splits its own
 * Service and entry points with the same number); or taken by another, which stays.
 */
static int claim_port(struct resolver *rv, const struct shunt_request *request, const char *name,
		      uint16_t number, enum shunt_port_http http,
		      struct shunt_model_service *service, bool *ret_joined)
{
	ssize_t taken = find_claim(rv, number, request->proto);
	const struct shunt_object *other;

	if (taken < 0)
		return add_port(service, name, number, request->proto, http);
	if (request->is_modest)
		return 0;
	if (request->n_addrs && same_variants(request, rv->origins[taken])) {
		if (request->policy || rv->origins[taken]->policy)
			return shunt_report_refuse_at(
				&rv->t->reports, &request->at, "Conflicted",
				"port %u of %s/%s is already split, and what a route's "
				"middlewares let in must not hold there too: take another "
				"port for the entry point, or list the Services in the route",
				number, request->namespace_, request->name);
		*ret_joined = true;
		return shunt_resolve_addrs(request, &rv->model->services[taken]);
	}
	other = rv->origins[taken]->object;
	return shunt_report_refuse_at(
		&rv->t->reports, &request->at, "Conflicted",
		"port %u of %s/%s is already split by %s %s/%s, which has precedence", number,
		request->namespace_, request->name, other->kind, other->namespace_, other->name);
}

static int claim_service_ports(struct resolver *rv, const struct shunt_request *request,
			       const struct shunt_world_service *world_service,
			       struct shunt_model_service *service, bool *ret_joined)
{
	const char *proto = request->proto == IPPROTO_UDP ? "UDP" : "TCP";
	size_t n = 0;

	for (size_t i = 0; i < world_service->n_ports; i++) {
		const struct shunt_world_port *port = &world_service->ports[i];

		if (port->proto != request->proto || (request->port && port->port != request->port))
			continue;
		n++;
		if (claim_port(rv, request, port->name, port->port, port->http, service,
			       ret_joined) < 0)
			return -ENOMEM;
	}
	if (n)
		return 0;
	if (request->port)
		return shunt_report_refuse_at(&rv->t->reports, &request->at, "NoMatchingParent",
					      "Service %s/%s has no %s port %u",
					      request->namespace_, request->name, proto,
					      request->port);
	return shunt_report_refuse_at(&rv->t->reports, &request->at, "NoMatchingParent",
				      "Service %s/%s has no %s port", request->namespace_,
				      request->name, proto);
}

/* ---- the service --------------------------------------------------------------------------- */

const char *shunt_why_unsplit(const struct shunt_world_service *service, const char **ret_reason)
{
	*ret_reason = "NoMatchingParent";
	if (!service)
		return "does not exist";
	if (service->refused)
		return "is not valid: see its own report";
	*ret_reason = "UnsupportedValue";
	if (service->external_name)
		return "is an ExternalName: nothing stands before it that could be split";
	if (service->headless)
		return "is headless: nothing stands before it that could be split";
	if (service->internal_local)
		return "has spec.internalTrafficPolicy Local, which Shunt cannot do yet";
	return NULL;
}

static int compare_variants(const void *a, const void *b)
{
	const struct shunt_model_variant *left = a, *right = b;

	return strcmp(left->name, right->name);
}

/* FNV-1a over names and weights: what an override stands above. */
static uint64_t weights_digest(const struct shunt_model_service *service)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];
		char text[SHUNT_NAME_LEN + 16];

		snprintf(text, sizeof(text), "%s=%u;", variant->name, variant->manifest_weight);
		for (const char *c = text; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 0x100000001b3ull;
	}
	return hash;
}

static int fill_variants(struct resolver *rv, const struct shunt_request *request,
			 const struct shunt_split_settings *settings,
			 struct shunt_model_service *service, struct shunt_notes *unresolved)
{
	struct shunt_notes refused = { 0 };

	service->variants = calloc(request->n_variants, sizeof(*service->variants));
	if (!service->variants)
		return -ENOMEM;
	for (size_t i = 0; i < request->n_variants; i++) {
		const struct shunt_request_variant *wanted = &request->variants[i];
		struct shunt_model_variant *variant = &service->variants[service->n_variants++];

		variant->name = strdup(wanted->name);
		variant->weight = wanted->weight;
		variant->manifest_weight = wanted->weight;
		variant->drain_deadline_s = settings->drain_s;
		if (!variant->name || shunt_resolve_backends(rv->t, wanted, service, variant,
							     unresolved, &refused) < 0)
			return -ENOMEM;
	}
	qsort(service->variants, service->n_variants, sizeof(*service->variants), compare_variants);
	return shunt_notes_set(&refused, &service->conditions, "EndpointRefused", "True");
}

/* ResolvedRefs of the service, and of the object unless another parent of it failed. */
static int set_resolved(struct resolver *rv, const struct shunt_request *request,
			const struct shunt_notes *unresolved, struct shunt_model_service *service)
{
	struct shunt_conditions *sets[] = { &service->conditions,
					    shunt_report(&rv->t->reports, request->object) };

	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		int r;

		if (!sets[i])
			return -ENOMEM;
		if (unresolved->n)
			r = shunt_notes_set(unresolved, sets[i], "ResolvedRefs", "False");
		else if (shunt_conditions_get(sets[i], "ResolvedRefs"))
			r = 0;
		else
			r = shunt_conditions_set(sets[i], "ResolvedRefs", "True", "ResolvedRefs",
						 "every reference leads to a Service");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Conditions that warn: all weights zero, fields that do not apply. */
static int set_warnings(const struct shunt_world_service *world_service,
			struct shunt_model_service *service)
{
	uint64_t sum = 0;
	int r = 0;

	for (size_t i = 0; i < service->n_variants; i++)
		sum += service->variants[i].weight;
	if (!sum)
		r = shunt_conditions_set(&service->conditions, "NoTraffic", "True",
					 "AllWeightsZero",
					 "all weights are 0: every new connection is rejected");
	if (!r && world_service && world_service->left_out[0])
		r = shunt_conditions_set(
			&service->conditions, "PartiallyHonored", "True", "UnsupportedValue",
			"these fields do not apply to the split: %s", world_service->left_out);
	return r;
}

static int fill_service(struct resolver *rv, const struct shunt_request *request,
			const struct shunt_world_service *world_service,
			const struct shunt_split_settings *settings,
			struct shunt_model_service *service)
{
	struct shunt_notes unresolved = { 0 };
	int r;

	service->namespace_ = strdup(request->namespace_);
	service->name = strdup(request->name);
	service->owned = settings->owned;
	service->affinity = settings->affinity;
	service->empty_policy = settings->empty_policy;
	if (!service->namespace_ || !service->name ||
	    shunt_report_ref(request->object, &service->source) < 0)
		return -ENOMEM;
	r = shunt_conditions_set(&service->conditions, "Accepted", "True", "Accepted",
				 "split by %s %s/%s", request->object->kind,
				 request->object->namespace_, request->object->name);
	if (!r)
		r = request->n_addrs ? shunt_resolve_addrs(request, service)
				     : shunt_resolve_frontends(rv->t->opts, world_service, service);
	if (!r)
		r = fill_variants(rv, request, settings, service, &unresolved);
	if (!r)
		r = set_resolved(rv, request, &unresolved, service);
	service->source.digest = weights_digest(service);
	return r ? r : set_warnings(world_service, service);
}

/* ---- all of them --------------------------------------------------------------------------- */

static int read_settings(struct resolver *rv, const struct shunt_request *request,
			 const struct shunt_world_service *world_service,
			 struct shunt_split_settings *ret_settings, bool *ret_refused)
{
	struct shunt_err err = { 0 };

	if (!shunt_annotations_read(rv->t->opts, world_service, request->object, &err,
				    ret_settings))
		return 0;
	*ret_refused = true;
	return shunt_report_refuse_part(&rv->t->reports, request->object, "Invalid", &err);
}

static int claim_ports(struct resolver *rv, const struct shunt_request *request,
		       const struct shunt_world_service *world_service,
		       struct shunt_model_service *service, bool *ret_joined)
{
	if (!request->n_addrs)
		return claim_service_ports(rv, request, world_service, service, ret_joined);
	for (size_t i = 0; i < request->n_addrs; i++)
		if (claim_port(rv, request, "", request->addrs[i].port,
			       request->is_http ? SHUNT_PORT_HTTP : SHUNT_PORT_NO_HTTP, service,
			       ret_joined) < 0)
			return -ENOMEM;
	return 0;
}

/* The service is built in its place in the model, and taken out again if no port is left. */
static int build_service(struct resolver *rv, const struct shunt_request *request,
			 const struct shunt_world_service *world_service,
			 const struct shunt_split_settings *settings)
{
	const struct shunt_request **origin;
	struct shunt_model_service *service;
	bool joined = false;

	origin = shunt_array_add(&rv->origins, &rv->n_origins, sizeof(*origin));
	if (!origin)
		return -ENOMEM;
	*origin = request;
	service = shunt_array_add(&rv->model->services, &rv->model->n_services, sizeof(*service));
	if (!service || claim_ports(rv, request, world_service, service, &joined) < 0)
		return -ENOMEM;
	if (!service->n_ports) {
		rv->model->n_services--;
		rv->n_origins--;
		return joined ? accept_request(rv, request) : 0;
	}
	if (accept_request(rv, request) < 0)
		return -ENOMEM;
	return fill_service(rv, request, world_service, settings, service);
}

static int resolve_request(struct resolver *rv, const struct shunt_request *request)
{
	const struct shunt_world_service *world_service = NULL;
	struct shunt_split_settings settings;
	const char *why, *reason;
	bool refused = false;

	if (!request->n_addrs) {
		world_service =
			shunt_world_service(&rv->t->world, request->namespace_, request->name);
		why = shunt_why_unsplit(world_service, &reason);
		if (why)
			return shunt_report_refuse_at(&rv->t->reports, &request->at, reason,
						      "Service %s/%s %s", request->namespace_,
						      request->name, why);
	}
	if (read_settings(rv, request, world_service, &settings, &refused) < 0)
		return -ENOMEM;
	return refused ? 0 : build_service(rv, request, world_service, &settings);
}

/* By Service; then the one that has precedence first. */
static int compare_requests(const void *a, const void *b)
{
	const struct shunt_request *x = *(struct shunt_request *const *)a;
	const struct shunt_request *y = *(struct shunt_request *const *)b;
	int r = strcmp(x->namespace_, y->namespace_);

	if (!r)
		r = strcmp(x->name, y->name);
	if (!r)
		r = (x->rank > y->rank) - (x->rank < y->rank);
	if (!r)
		r = strcmp(x->created, y->created); /* RFC 3339 in UTC sorts as text */
	if (!r)
		r = strcmp(x->object->namespace_, y->object->namespace_);
	if (!r)
		r = strcmp(x->object->name, y->object->name);
	return r ? r : (x->order > y->order) - (x->order < y->order);
}

static int compare_services(const void *a, const void *b)
{
	const struct shunt_model_service *x = a, *y = b;
	int r = strcmp(x->namespace_, y->namespace_);

	if (!r)
		r = strcmp(x->name, y->name);
	if (!r)
		r = x->ports[0].port - y->ports[0].port;
	return r ? r : x->ports[0].proto - y->ports[0].proto;
}

static int resolve_all(struct resolver *rv)
{
	const struct shunt_translation *t = rv->t;

	qsort(t->requests, t->n_requests, sizeof(*t->requests), compare_requests);
	for (size_t i = 0; i < t->n_requests; i++) {
		const struct shunt_request *before = i ? t->requests[i - 1] : NULL;

		if (!before || strcmp(before->namespace_, t->requests[i]->namespace_) ||
		    strcmp(before->name, t->requests[i]->name))
			rv->group = rv->model->n_services;
		if (resolve_request(rv, t->requests[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

int shunt_resolve(struct shunt_translation *t, struct shunt_model *ret_model)
{
	struct shunt_model *model = ret_model;
	struct resolver rv = { .t = t, .model = model };
	int r = t->n_requests ? resolve_all(&rv) : 0;

	if (!r)
		r = shunt_resolve_conflicts(&t->world, model);
	if (!r)
		r = shunt_policies_apply(t, model, rv.origins);
	free(rv.origins);
	for (size_t i = 0; i < model->n_services && !r; i++)
		if (!model->services[i].n_frontends)
			r = shunt_conditions_set(&model->services[i].conditions, "NoFrontends",
						 "True", "NoAddress",
						 "no address leads here: no packet can be split");
	if (!r && model->n_services)
		qsort(model->services, model->n_services, sizeof(*model->services),
		      compare_services);
	return r;
}
