// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "compile/breaker.h"
#include "compile/digest.h"
#include "compile/image.h"
#include "compile/maglev.h"
#include "compile/policy.h"
#include "model/policy.h"
#include "shunt/choose.h"

/* What the functions of one compilation share. */
struct compiler {
	const struct shunt_model_service *service;
	struct shunt_ids *ids;
	struct shunt_image_service *image;
	uint32_t variant_id[SHUNT_MAX_VARIANTS];
};

static void image_freep(struct shunt_image_service **image)
{
	shunt_image_free(*image);
}

void shunt_image_free(struct shunt_image_service *image)
{
	if (!image)
		return;
	for (size_t p = 0; p < image->n_ports; p++) {
		struct shunt_image_port *port = &image->ports[p];

		for (size_t v = 0; v < port->n_variants; v++) {
			for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
				free(port->variants[v].ring[family].entry);
				free(port->variants[v].ring[family].member);
			}
		}
		free(port->variants);
		free(port->backends);
		free(port->frontends);
	}
	shunt_image_policy_free(image->policy);
	shunt_image_breaker_free(image->breaker);
	free(image->ports);
	free(image);
}

/* ---- order ------------------------------------------------------------------------------ */

static int ip_cmp(const struct shunt_ip *a, const struct shunt_ip *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(&a->addr, &b->addr, sizeof(a->addr));
}

static int frontend_cmp(const void *a, const void *b)
{
	const struct shunt_image_frontend *left = a, *right = b;
	int order = ip_cmp(&left->ip, &right->ip);

	return order ? order : (int)left->port - (int)right->port;
}

static int backend_cmp(const void *a, const void *b)
{
	const struct shunt_model_backend *const *left = a, *const *right = b;
	int order = ip_cmp(&(*left)->ip, &(*right)->ip);

	if (order)
		return order;
	return (int)(*left)->port - (int)(*right)->port;
}

/* ---- weights ---------------------------------------------------------------------------- */

static bool takes_new(const struct shunt_model_backend *backend)
{
	return backend->usable && backend->weight;
}

/* The families that clients of a port can come in; without frontends yet, either. */
static unsigned port_families(const struct shunt_model_service *service, size_t p)
{
	unsigned families = 0;

	for (size_t i = 0; i < service->n_frontends; i++)
		if (service->frontends[i].port_index == p)
			families |= 1u << service->frontends[i].ip.family;
	return families ? families : 1u << SHUNT_V4 | 1u << SHUNT_V6;
}

/*
 * Weights count for both families at once. So a variant is empty only if it has no usable
 * backend in any family that clients come in: one that serves IPv4 must not lose its IPv4
 * share because it has no IPv6 pod.
 */
static bool is_empty(const struct shunt_model_variant *variant, size_t p, unsigned families)
{
	for (size_t i = 0; i < variant->n_backends; i++) {
		const struct shunt_model_backend *backend = &variant->backends[i];

		if (backend->port_index == p && takes_new(backend) &&
		    families & 1u << backend->ip.family)
			return false;
	}
	return true;
}

/* The weights in force for one port: drained variants get nothing, empties as the policy says. */
static void port_weights(const struct shunt_model_service *service, size_t p, uint32_t *weight)
{
	unsigned families = port_families(service, p);
	bool empty[SHUNT_MAX_VARIANTS];
	bool heir = false;

	for (size_t v = 0; v < service->n_variants; v++) {
		const struct shunt_model_variant *variant = &service->variants[v];

		weight[v] = variant->drained ? 0 : variant->weight;
		empty[v] = is_empty(variant, p, families);
		heir = heir || (weight[v] && !empty[v]);
	}
	/* With nobody to inherit, the share stays: "no usable backend" is the truer reject. */
	if (service->empty_policy != SHUNT_EMPTY_REDISTRIBUTE || !heir)
		return;
	for (size_t v = 0; v < service->n_variants; v++)
		if (empty[v])
			weight[v] = 0;
}

/* ---- backends and rings ------------------------------------------------------------------ */

static uint32_t backend_id(const struct compiler *c, size_t v, size_t p,
			   const struct shunt_model_backend *backend, bool give)
{
	char key[SHUNT_ID_KEY_LEN];

	shunt_id_backend_key(key, c->variant_id[v], &backend->ip, backend->port,
			     c->service->ports[p].proto);
	return give ? shunt_ids_get(c->ids, SHUNT_ID_BACKEND, key)
		    : shunt_ids_find(c->ids, SHUNT_ID_BACKEND, key);
}

static int ring_build(const struct compiler *c, size_t v, size_t p,
		      const struct shunt_model_backend *const *usable, size_t n,
		      struct shunt_image_ring *ring)
{
	CLEANUP(freep) struct shunt_maglev_backend *backends = NULL;

	if (!n)
		return 0;
	backends = calloc(n, sizeof(*backends));
	ring->size = shunt_maglev_size(n);
	ring->n_members = n;
	ring->entry = calloc(ring->size, sizeof(*ring->entry));
	ring->member = calloc(n, sizeof(*ring->member));
	if (!backends || !ring->entry || !ring->member)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		backends[i] = (struct shunt_maglev_backend){
			.ip = usable[i]->ip,
			.port = usable[i]->port,
			.weight = usable[i]->weight,
		};
		ring->member[i] = backend_id(c, v, p, usable[i], true);
		if (!ring->member[i])
			return -ENOSPC;
	}
	return shunt_maglev_fill(backends, n, ring->entry);
}

/*
 * A backend that gets nothing new is listed only if it has an id, that is, may have flows:
 * it keeps them, and pods that never became ready take no room. A terminating one that is
 * the last resort does get new flows, so it must not carry the flag that forbids them.
 */
static int backend_add(const struct compiler *c, size_t v, size_t p,
		       const struct shunt_model_backend *backend, struct shunt_image_port *port)
{
	uint32_t id = backend_id(c, v, p, backend, takes_new(backend));

	if (!id)
		return takes_new(backend) ? -ENOSPC : 0;
	port->backends[port->n_backends++] = (struct shunt_image_backend){
		.id = id,
		.ip = backend->ip,
		.port = backend->port,
		.proto = c->service->ports[p].proto,
		.variant = c->variant_id[v],
		.flags = takes_new(backend) ? 0 : SHUNT_BE_NO_NEW,
	};
	return 0;
}

/* The backends of variant @v and port @p, sorted: model order must not reach the rings. */
static int sorted_backends(const struct compiler *c, size_t v, size_t p,
			   const struct shunt_model_backend ***ret_sorted, size_t *ret_n)
{
	const struct shunt_model_variant *variant = &c->service->variants[v];
	const struct shunt_model_backend **sorted;
	size_t n = 0;

	sorted = calloc(variant->n_backends + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < variant->n_backends; i++)
		if (variant->backends[i].port_index == p)
			sorted[n++] = &variant->backends[i];
	qsort(sorted, n, sizeof(*sorted), backend_cmp);
	*ret_sorted = sorted;
	*ret_n = n;
	return 0;
}

static int variant_backends(struct compiler *c, size_t v, size_t p, struct shunt_image_port *port,
			    struct shunt_image_variant *variant)
{
	CLEANUP(freep) const struct shunt_model_backend **sorted = NULL;
	CLEANUP(freep) const struct shunt_model_backend **usable = NULL;
	size_t n, n_usable;
	int r;

	r = sorted_backends(c, v, p, &sorted, &n);
	if (r < 0)
		return r;
	usable = calloc(n + 1, sizeof(*usable));
	if (!usable)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		r = backend_add(c, v, p, sorted[i], port);
		if (r < 0)
			return r;
	}
	for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
		n_usable = 0;
		for (size_t i = 0; i < n; i++)
			if (sorted[i]->ip.family == family && takes_new(sorted[i]))
				usable[n_usable++] = sorted[i];
		r = ring_build(c, v, p, usable, n_usable, &variant->ring[family]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- ports --------------------------------------------------------------------------------- */

static int port_frontends(const struct shunt_model_service *service, size_t p,
			  struct shunt_image_port *port)
{
	port->frontends = calloc(service->n_frontends + 1, sizeof(*port->frontends));
	if (!port->frontends)
		return -ENOMEM;
	for (size_t i = 0; i < service->n_frontends; i++)
		if (service->frontends[i].port_index == p)
			port->frontends[port->n_frontends++] = (struct shunt_image_frontend){
				.ip = service->frontends[i].ip,
				.port = shunt_model_frontend_port(service, &service->frontends[i]),
				.is_balancer = service->frontends[i].load_balancer,
			};
	qsort(port->frontends, port->n_frontends, sizeof(*port->frontends), frontend_cmp);
	return 0;
}

static int port_variants(struct compiler *c, size_t p, struct shunt_image_port *port)
{
	const struct shunt_model_service *service = c->service;
	uint32_t weight[SHUNT_MAX_VARIANTS];
	size_t n_backends = 0;
	int r;

	for (size_t v = 0; v < service->n_variants; v++)
		n_backends += service->variants[v].n_backends;
	port->variants = calloc(service->n_variants + 1, sizeof(*port->variants));
	port->backends = calloc(n_backends + 1, sizeof(*port->backends));
	if (!port->variants || !port->backends)
		return -ENOMEM;

	port_weights(service, p, weight);
	for (size_t v = 0; v < service->n_variants; v++) {
		const struct shunt_model_variant *from = &service->variants[v];
		struct shunt_image_variant *to = &port->variants[port->n_variants++];

		strcpy(to->name, from->name);
		to->id = c->variant_id[v];
		to->weight = weight[v];
		to->asked = from->drained ? 0 : from->weight;
		to->seed = shunt_name_seed(from->name);
		to->drained = from->drained || !from->weight;
		to->drain_deadline_s = from->drain_deadline_s;
		r = variant_backends(c, v, p, port, to);
		if (r < 0)
			return r;
	}
	if (port->n_variants == 2)
		port->threshold = shunt_threshold(weight[0], weight[1]);
	return 0;
}

/* What is measured of the port: enum shunt_service_flags. */
static uint32_t signal_flags(const struct shunt_model_service *service,
			     const struct shunt_port *port)
{
	const struct shunt_policy *policy = service->policy;
	uint32_t flags = SHUNT_SVC_TCP;

	if (port->proto != IPPROTO_TCP || (policy && policy->signals == SHUNT_SIGNALS_OFF))
		return 0;
	if (shunt_policy_has_http(policy, port))
		flags |= SHUNT_SVC_HTTP;
	if (policy &&
	    (policy->breaker.expression || policy->dead_man.enabled || shunt_policy_ejects(policy)))
		flags |= SHUNT_SVC_JUDGED;
	return flags;
}

/* SHUNT_SVC_REQUESTS, if requests of @port are limited while they are in flight; else 0. */
static uint32_t requests_flag(const struct shunt_model_service *service,
			      const struct shunt_port *port)
{
	const struct shunt_policy *policy = service->policy;

	return shunt_policy_parts(policy) & SHUNT_PART_REQUESTS_IN_FLIGHT &&
			       port->proto == IPPROTO_TCP && shunt_policy_has_http(policy, port)
		       ? SHUNT_SVC_REQUESTS
		       : 0;
}

static int port_compile(struct compiler *c, size_t p)
{
	const struct shunt_port *from = &c->service->ports[p];
	struct shunt_image_port *to = &c->image->ports[c->image->n_ports++];
	char key[SHUNT_ID_KEY_LEN];
	int r;

	to->port = from->port;
	to->proto = from->proto;
	to->flags = signal_flags(c->service, from) | shunt_breaker_flag(c->service, from) |
		    shunt_eject_flag(c->service, from) | requests_flag(c->service, from);
	shunt_id_service_key(key, c->image->namespace_, c->image->name, from->port, from->proto);
	to->id = shunt_ids_get(c->ids, SHUNT_ID_SERVICE, key);
	if (!to->id)
		return -ENOSPC;
	r = port_frontends(c->service, p, to);
	if (r < 0)
		return r;
	return port_variants(c, p, to);
}

/* ---- services -------------------------------------------------------------------------------- */

/* The maps hold names of a DNS label's length: a cut one would be another's after a restart. */
static int names_fit(const struct shunt_model_service *service)
{
	if (strlen(service->namespace_) >= SHUNT_NAME_LEN ||
	    strlen(service->name) >= SHUNT_NAME_LEN)
		return -ENAMETOOLONG;
	if (service->n_variants > SHUNT_MAX_VARIANTS)
		return -E2BIG;
	for (size_t v = 0; v < service->n_variants; v++)
		if (strlen(service->variants[v].name) >= SHUNT_NAME_LEN)
			return -ENAMETOOLONG;
	return 0;
}

static int variant_ids(struct compiler *c)
{
	char key[SHUNT_ID_KEY_LEN];

	for (size_t v = 0; v < c->service->n_variants; v++) {
		shunt_id_variant_key(key, c->image->namespace_, c->image->name,
				     c->service->ports[0].port, c->service->ports[0].proto,
				     c->service->variants[v].name);
		c->variant_id[v] = shunt_ids_get(c->ids, SHUNT_ID_VARIANT, key);
		if (!c->variant_id[v])
			return -ENOSPC;
	}
	return 0;
}

static int account_id(struct compiler *c)
{
	char key[SHUNT_ID_KEY_LEN];

	shunt_id_account_key(key, c->image->namespace_, c->image->name);
	c->image->account = shunt_ids_get(c->ids, SHUNT_ID_ACCOUNT, key);
	return c->image->account ? 0 : -ENOSPC;
}

static struct shunt_image_service *image_new(const struct shunt_model_service *service)
{
	CLEANUP(image_freep) struct shunt_image_service *image = calloc(1, sizeof(*image));
	char name[2 * SHUNT_NAME_LEN];

	if (!image)
		return NULL;
	image->ports = calloc(service->n_ports + 1, sizeof(*image->ports));
	if (!image->ports)
		return NULL;
	strcpy(image->namespace_, service->namespace_);
	strcpy(image->name, service->name);
	snprintf(name, sizeof(name), "%s/%s", service->namespace_, service->name);
	image->seed = shunt_name_seed(name);
	image->flags = service->owned ? SHUNT_SVC_OWNED : 0;
	image->affinity = service->affinity;
	return TAKE_PTR(image);
}

int shunt_compile(const struct shunt_model_service *service, struct shunt_ids *ids,
		  struct shunt_image_service **ret_image)
{
	CLEANUP(image_freep) struct shunt_image_service *image = NULL;
	struct compiler c = { .service = service, .ids = ids };
	int r;

	r = names_fit(service);
	if (r < 0)
		return r;
	image = image_new(service);
	if (!image)
		return -ENOMEM;
	c.image = image;
	r = variant_ids(&c);
	if (r == 0)
		r = account_id(&c);
	if (r == 0)
		r = shunt_compile_policy(service, c.variant_id, ids, &image->policy);
	if (r < 0)
		return r;
	for (size_t p = 0; p < service->n_ports; p++) {
		r = port_compile(&c, p);
		if (r < 0)
			return r;
	}
	shunt_compile_ejection(service, image);
	r = shunt_compile_breaker(service, c.variant_id, ids, image);
	if (r < 0)
		return r;
	image->digest = shunt_image_digest(image);
	*ret_image = TAKE_PTR(image);
	return 0;
}
