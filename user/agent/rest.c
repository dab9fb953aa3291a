// SPDX-License-Identifier: Apache-2.0
#include "agent/rest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

const struct shunt_drain *agent_drain_of(const struct shunt_drain *drains, size_t n,
					 const struct shunt_ip *ip, uint16_t port)
{
	struct shunt_ip drained_ip;
	uint16_t drained_port;

	for (size_t i = 0; i < n; i++)
		if (drains[i].is_backend &&
		    !shunt_addr_port_parse(drains[i].target, &drained_ip, &drained_port) &&
		    drained_port == port && shunt_ip_equal(&drained_ip, ip))
			return &drains[i];
	return NULL;
}

/* Return: a copy of @n elements that @rest owns, or NULL. */
static void *copy(struct agent_rest *rest, const void *array, size_t n, size_t size)
{
	void **slot = shunt_array_add(&rest->copies, &rest->n_copies, sizeof(*slot));

	if (!slot)
		return NULL;
	*slot = calloc(n + 1, size);
	if (*slot && n)
		memcpy(*slot, array, n * size);
	return *slot;
}

static int leave_out(struct agent_rest *rest, struct shunt_model_variant *variant,
		     const struct shunt_drain *drains, size_t n_drains, int64_t fresh_ms)
{
	const struct shunt_drain *drain;
	size_t n = 0;

	variant->backends =
		copy(rest, variant->backends, variant->n_backends, sizeof(*variant->backends));
	if (!variant->backends)
		return -ENOMEM;
	for (size_t b = 0; b < variant->n_backends; b++) {
		drain = agent_drain_of(drains, n_drains, &variant->backends[b].ip,
				       variant->backends[b].port);
		if (!drain)
			variant->backends[n++] = variant->backends[b];
		else if (drain->deadline_s && drain->when_ms == fresh_ms)
			variant->drain_deadline_s = drain->deadline_s;
	}
	variant->n_backends = n;
	return 0;
}

static bool has_backend_drain(const struct shunt_drain *drains, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (drains[i].is_backend)
			return true;
	return false;
}

int agent_rest_make(const struct shunt_overrides *overrides, const struct shunt_model *model,
		    int64_t fresh_ms, struct agent_rest *ret_rest)
{
	const struct shunt_drain *drains;
	size_t n;
	int r;

	ret_rest->model = *model;
	if (!shunt_overrides_any_drain(overrides))
		return 0;
	ret_rest->model.services =
		copy(ret_rest, model->services, model->n_services, sizeof(*model->services));
	if (!ret_rest->model.services)
		return -ENOMEM;
	for (size_t i = 0; i < model->n_services; i++) {
		struct shunt_model_service *service = &ret_rest->model.services[i];

		n = shunt_overrides_drains(overrides, service, &drains);
		if (!has_backend_drain(drains, n))
			continue;
		service->variants = copy(ret_rest, service->variants, service->n_variants,
					 sizeof(*service->variants));
		if (!service->variants)
			return -ENOMEM;
		for (size_t v = 0; v < service->n_variants; v++) {
			r = leave_out(ret_rest, &service->variants[v], drains, n, fresh_ms);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

void agent_rest_free(struct agent_rest *rest)
{
	for (size_t i = 0; i < rest->n_copies; i++)
		free(rest->copies[i]);
	free(rest->copies);
	*rest = (struct agent_rest){ 0 };
}
