// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "dialect/resolve.h"

/* A backend that may be there several times: a lower rank wins. */
struct candidate {
	struct shunt_model_backend backend;
	unsigned rank;
};

struct collecting {
	const struct shunt_translation *t;
	const struct shunt_request_variant *wanted;
	struct shunt_notes *refused;
	struct candidate *items;
	size_t n;
};

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "UDP" : "TCP";
}

static bool has_number(const struct shunt_world_service *service, uint16_t port)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].port == port)
			return true;
	return false;
}

/* The backend Service's port for the frontend port @front, or NULL. */
static const struct shunt_world_port *find_port(const struct shunt_world_service *service,
						const struct shunt_request_variant *wanted,
						const struct shunt_port *front)
{
	uint16_t number = wanted->port ? wanted->port : front->port;
	const struct shunt_world_port *only = NULL;
	size_t n = 0;

	for (size_t i = 0; i < service->n_ports; i++) {
		const struct shunt_world_port *port = &service->ports[i];

		if (port->proto != front->proto)
			continue;
		only = port;
		n++;
		if (!wanted->port && wanted->port_name[0] ? !strcmp(port->name, wanted->port_name)
							  : port->port == number)
			return port;
	}
	return !wanted->port && !wanted->port_name[0] && n == 1 ? only : NULL;
}

static bool has_labels(const json_t *labels, const json_t *wanted)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)wanted, key, value)
		if (!json_equal(json_object_get(labels, key), value))
			return false;
	return true;
}

/* What no endpoint may be, whatever is allowed; and what one may be only if allowed. */
static const char *why_refused(const struct shunt_translate_opts *opts, const struct shunt_ip *ip)
{
	if (shunt_ip_is_unspecified(ip))
		return "is unspecified";
	if (shunt_ip_is_multicast(ip))
		return "is a multicast address";
	if (opts->allow_node_endpoints)
		return NULL;
	if (shunt_ip_is_loopback(ip))
		return "is a loopback address";
	if (shunt_ip_is_link_local(ip))
		return "is a link-local address";
	for (size_t i = 0; i < opts->n_node_addrs; i++)
		if (shunt_ip_equal(&opts->node_addrs[i], ip))
			return "is an address of this node";
	return NULL;
}

/* Ready or not, a terminating one stands behind one that is not: a pod's address reused. */
static unsigned rank_of(const struct shunt_world_endpoint *endpoint)
{
	if (!endpoint->terminating)
		return endpoint->ready ? 0 : 1;
	return endpoint->ready ? 2 : endpoint->serving ? 3 : 4;
}

static enum shunt_backend_state state_of(const struct shunt_world_endpoint *endpoint)
{
	if (endpoint->ready)
		return SHUNT_BACKEND_READY;
	if (endpoint->serving && endpoint->terminating)
		return SHUNT_BACKEND_TERMINATING;
	return SHUNT_BACKEND_NOT_READY;
}

static int add_endpoint(struct collecting *c, const struct shunt_world_slice *slice,
			const struct shunt_world_endpoint *endpoint, uint16_t port,
			uint16_t port_index)
{
	const json_t *labels = c->wanted->labels;
	const char *why = why_refused(c->t->opts, &endpoint->ip);
	struct candidate *candidate;
	char text[SHUNT_IP_STR_LEN];

	if (labels &&
	    !has_labels(shunt_world_pod_labels(&c->t->world, slice->namespace_, endpoint->pod),
			labels))
		return 0;
	if (why) {
		shunt_notes_add(c->refused, "AddressNotAllowed", slice->object, endpoint->json,
				endpoint->path, "%s of EndpointSlice %s/%s %s",
				shunt_ip_str(&endpoint->ip, text), slice->namespace_,
				slice->object->name, why);
		return 0;
	}
	candidate = shunt_array_add(&c->items, &c->n, sizeof(*candidate));
	if (!candidate)
		return -ENOMEM;
	candidate->backend = (struct shunt_model_backend){
		.ip = endpoint->ip,
		.port = port,
		.port_index = port_index,
		.weight = 1,
		.state = state_of(endpoint),
	};
	candidate->rank = rank_of(endpoint);
	return 0;
}

/* The endpoints behind one port of a backend Service, for one port of the frontend. */
static int add_endpoints(struct collecting *c, const struct shunt_world_service *service,
			 const struct shunt_world_port *port, uint16_t port_index)
{
	const struct shunt_world_slice *slices;
	size_t n;

	slices = shunt_world_slices(&c->t->world, service->namespace_, service->name, &n);
	for (size_t s = 0; s < n; s++)
		for (size_t p = 0; p < slices[s].n_ports; p++) {
			const struct shunt_world_port *target = &slices[s].ports[p];

			if (target->proto != port->proto || strcmp(target->name, port->name))
				continue;
			for (size_t e = 0; e < slices[s].n_endpoints; e++)
				if (add_endpoint(c, &slices[s], &slices[s].endpoints[e],
						 target->port, port_index) < 0)
					return -ENOMEM;
		}
	return 0;
}

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;
	const struct shunt_model_backend *x = &left->backend, *y = &right->backend;
	int r = x->ip.family - y->ip.family;

	if (!r)
		r = memcmp(&x->ip.addr, &y->ip.addr, sizeof(x->ip.addr));
	if (!r)
		r = x->port - y->port;
	if (!r)
		r = x->port_index - y->port_index;
	return r ? r : (int)left->rank - (int)right->rank;
}

/* Same address, port and service port; @rank does not count. */
static bool same_backend(const struct candidate *a, const struct candidate *b)
{
	struct candidate other = *b;

	other.rank = a->rank;
	return !compare_candidates(a, &other);
}

/*
 * Per port and family, as kube-proxy does it: the ready ones; if there is none, those that
 * terminate and still serve.
 */
static void mark_usable(struct shunt_model_variant *variant, size_t n_ports)
{
	for (size_t i = 0; i < n_ports * SHUNT_N_FAMILIES; i++) {
		bool any_ready = false;

		for (int pass = 0; pass < 2; pass++)
			for (size_t b = 0; b < variant->n_backends; b++) {
				struct shunt_model_backend *backend = &variant->backends[b];
				bool ready = backend->state == SHUNT_BACKEND_READY;

				if (backend->port_index != i / SHUNT_N_FAMILIES ||
				    backend->ip.family != i % SHUNT_N_FAMILIES)
					continue;
				any_ready |= ready;
				if (pass)
					backend->usable =
						ready ||
						(!any_ready &&
						 backend->state == SHUNT_BACKEND_TERMINATING);
			}
	}
}

static int take_candidates(struct collecting *c, size_t n_ports,
			   struct shunt_model_variant *variant)
{
	if (!c->n)
		return 0;
	variant->backends = calloc(c->n, sizeof(*variant->backends));
	if (!variant->backends)
		return -ENOMEM;
	qsort(c->items, c->n, sizeof(*c->items), compare_candidates);
	for (size_t i = 0; i < c->n; i++)
		if (!i || !same_backend(&c->items[i - 1], &c->items[i]))
			variant->backends[variant->n_backends++] = c->items[i].backend;
	mark_usable(variant, n_ports);
	return 0;
}

/* Notes why a reference leads nowhere. */
static void unresolve(const struct shunt_request_variant *wanted, enum shunt_group_state group,
		      const char *reason, const char *text, struct shunt_model_variant *variant,
		      struct shunt_notes *notes)
{
	variant->group = group;
	shunt_notes_add(notes, reason, wanted->at.object, wanted->at.json, wanted->at.path, "%s",
			text);
}

/* Is the backend Service there and of a kind that has endpoints? */
static const struct shunt_world_service *find_service(const struct shunt_translation *t,
						      const struct shunt_request_variant *wanted,
						      struct shunt_model_variant *variant,
						      struct shunt_notes *notes)
{
	const struct shunt_world_service *service =
		shunt_world_service(&t->world, wanted->namespace_, wanted->service);
	char text[256];

	snprintf(text, sizeof(text), "Service %s/%s ", wanted->namespace_, wanted->service);
	if (!service)
		unresolve(wanted, SHUNT_GROUP_NOT_FOUND, "BackendNotFound",
			  strcat(text, "does not exist"), variant, notes);
	else if (service->refused)
		unresolve(wanted, SHUNT_GROUP_INVALID, "BackendInvalid",
			  strcat(text, "is not valid: see its own report"), variant, notes);
	else if (service->external_name)
		unresolve(wanted, SHUNT_GROUP_INVALID, "UnsupportedValue",
			  strcat(text, "is an ExternalName and has no endpoints"), variant, notes);
	return variant->group == SHUNT_GROUP_RESOLVED ? service : NULL;
}

/* The note about a port of @service that is not there for @front. */
static void port_missing(const struct shunt_world_service *service,
			 const struct shunt_request_variant *wanted, const struct shunt_port *front,
			 struct shunt_model_variant *variant, struct shunt_notes *notes)
{
	uint16_t number = wanted->port ? wanted->port : front->port;
	bool other_proto = !wanted->port_name[0] && has_number(service, number);
	char text[256];

	if (!wanted->port && wanted->port_name[0])
		snprintf(text, sizeof(text), "Service %s/%s has no %s port named %s",
			 service->namespace_, service->name, proto_name(front->proto),
			 wanted->port_name);
	else
		snprintf(text, sizeof(text), "Service %s/%s has no %s port %u", service->namespace_,
			 service->name, proto_name(front->proto), number);
	unresolve(wanted, other_proto ? SHUNT_GROUP_INVALID : SHUNT_GROUP_NOT_FOUND,
		  other_proto ? "UnsupportedProtocol" : "BackendNotFound", text, variant, notes);
}

int shunt_resolve_backends(const struct shunt_translation *t,
			   const struct shunt_request_variant *wanted,
			   const struct shunt_model_service *service,
			   struct shunt_model_variant *ret_variant, struct shunt_notes *unresolved,
			   struct shunt_notes *refused)
{
	struct collecting c = { .t = t, .wanted = wanted, .refused = refused };
	const struct shunt_world_service *backend;
	int r = 0;

	ret_variant->group = wanted->group;
	if (wanted->group != SHUNT_GROUP_RESOLVED) {
		unresolve(wanted, wanted->group, wanted->group_reason ? wanted->group_reason : "",
			  wanted->group_message, ret_variant, unresolved);
		return 0;
	}
	backend = find_service(t, wanted, ret_variant, unresolved);
	for (size_t i = 0; backend && i < service->n_ports && !r; i++) {
		const struct shunt_world_port *port =
			find_port(backend, wanted, &service->ports[i]);

		if (port) {
			r = add_endpoints(&c, backend, port, i);
			continue;
		}
		port_missing(backend, wanted, &service->ports[i], ret_variant, unresolved);
		break;
	}
	/* A reference that is bad for one port is bad: no half of it serves. */
	if (!r && ret_variant->group == SHUNT_GROUP_RESOLVED)
		r = take_candidates(&c, service->n_ports, ret_variant);
	free(c.items);
	return r;
}
