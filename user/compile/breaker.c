// SPDX-License-Identifier: Apache-2.0
#include "compile/breaker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "model/policy.h"

#define NS_PER_MS 1000000ull

/* What the functions of one compilation share. */
struct compiler {
	const struct shunt_model_service *service;
	const uint32_t *variant_id;
	struct shunt_ids *ids;
	struct shunt_image_breaker *breaker;
};

static void breaker_freep(struct shunt_image_breaker **breaker)
{
	shunt_image_breaker_free(*breaker);
}

void shunt_image_breaker_free(struct shunt_image_breaker *breaker)
{
	if (!breaker)
		return;
	free(breaker->instances);
	free(breaker);
}

static const struct shunt_breaker *breaker_of(const struct shunt_model_service *service)
{
	if (!service->policy || !service->policy->breaker.expression)
		return NULL;
	return &service->policy->breaker;
}

uint32_t shunt_breaker_flag(const struct shunt_model_service *service,
			    const struct shunt_port *port)
{
	return breaker_of(service) && port->proto == IPPROTO_TCP ? SHUNT_SVC_BREAKER : 0;
}

/* The instance of variant @v (-1: of the service) and @backend (0: of none). 0 or -errno. */
static int add_instance(const struct compiler *c, uint8_t scope, int v, uint32_t backend)
{
	const struct shunt_model_service *service = c->service;
	struct shunt_image_instance *instance;
	char key[SHUNT_ID_KEY_LEN];

	instance = shunt_array_add(&c->breaker->instances, &c->breaker->n_instances,
				   sizeof(*instance));
	if (!instance)
		return -ENOMEM;
	instance->name = (struct shunt_breaker_name){
		.variant_index = v < 0 ? 0 : c->variant_id[v],
		.backend_index = backend,
		.port_be = htons(service->ports[0].port),
		.proto = service->ports[0].proto,
		.scope = scope,
	};
	strcpy(instance->name.namespace_, service->namespace_);
	strcpy(instance->name.service, service->name);
	if (v >= 0)
		strcpy(instance->name.variant, service->variants[v].name);
	shunt_id_breaker_key(key, &instance->name);
	instance->id = shunt_ids_get(c->ids, SHUNT_ID_BREAKER, key);
	return instance->id ? 0 : -ENOSPC;
}

static bool has_backend(const struct shunt_image_breaker *breaker, uint32_t backend)
{
	for (size_t i = 0; i < breaker->n_instances; i++)
		if (breaker->instances[i].name.backend_index == backend)
			return true;
	return false;
}

/* Two ports of a service may have the same backend. */
static int add_backends(const struct compiler *c, const struct shunt_image_port *port)
{
	int r = 0;

	for (size_t b = 0; r == 0 && b < port->n_backends; b++) {
		if (has_backend(c->breaker, port->backends[b].id))
			continue;
		for (size_t v = 0; r == 0 && v < c->service->n_variants; v++)
			if (c->variant_id[v] == port->backends[b].variant)
				r = add_instance(c, SHUNT_LIMIT_BACKEND, (int)v,
						 port->backends[b].id);
	}
	return r;
}

static int add_instances(const struct compiler *c, enum shunt_scope scope,
			 const struct shunt_image_service *image)
{
	int r = 0;

	switch (scope) {
	case SHUNT_SCOPE_VARIANT:
		for (size_t v = 0; r == 0 && v < c->service->n_variants; v++)
			r = add_instance(c, SHUNT_LIMIT_VARIANT, (int)v, 0);
		return r;
	case SHUNT_SCOPE_BACKEND:
		for (size_t p = 0; r == 0 && p < image->n_ports; p++)
			r = add_backends(c, &image->ports[p]);
		return r;
	default:
		return add_instance(c, SHUNT_LIMIT_SERVICE, -1, 0);
	}
}

static struct shunt_breaker_rule rule_of(const struct compiler *c, const struct shunt_breaker *from)
{
	struct shunt_breaker_rule rule = {
		.check_ns = from->check_ms * NS_PER_MS,
		.open_ns = from->fallback_ms * NS_PER_MS,
		.recovery_ns = from->recovery_ms * NS_PER_MS,
		.min_requests = from->min_requests,
		.response_code = from->response_code,
		.predicate = from->predicate,
	};

	for (size_t v = 0; from->fallback[0] && v < c->service->n_variants; v++)
		if (!strcmp(c->service->variants[v].name, from->fallback))
			rule.fallback = c->variant_id[v];
	return rule;
}

int shunt_compile_breaker(const struct shunt_model_service *service, const uint32_t *variant_id,
			  struct shunt_ids *ids, struct shunt_image_service *image)
{
	CLEANUP(breaker_freep) struct shunt_image_breaker *breaker = NULL;
	const struct shunt_breaker *from = breaker_of(service);
	struct compiler c = { .service = service, .variant_id = variant_id, .ids = ids };
	int r;

	image->breaker = NULL;
	if (!from || !service->n_ports)
		return 0;
	breaker = calloc(1, sizeof(*breaker));
	if (!breaker)
		return -ENOMEM;
	c.breaker = breaker;
	breaker->rule = rule_of(&c, from);
	r = add_instances(&c, from->scope, image);
	if (r < 0)
		return r;
	image->breaker = TAKE_PTR(breaker);
	return 0;
}
