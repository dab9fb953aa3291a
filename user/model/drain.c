// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/override_state.h"

static bool is_target(const struct shunt_model_backend *backend, const char *target)
{
	char text[SHUNT_ADDR_PORT_LEN];

	return !strcmp(shunt_addr_port_str(&backend->ip, backend->port, text), target);
}

/* Would a variant that gets connections be left without one for a port and family? */
static bool is_last_backend(const struct shunt_model_variant *variant, const char *target)
{
	for (size_t i = 0; i < variant->n_backends; i++) {
		bool others = false;

		if (!variant->backends[i].usable || !is_target(&variant->backends[i], target))
			continue;
		for (size_t j = 0; j < variant->n_backends; j++)
			others |=
				variant->backends[j].usable &&
				variant->backends[j].port_index ==
					variant->backends[i].port_index &&
				variant->backends[j].ip.family == variant->backends[i].ip.family &&
				!is_target(&variant->backends[j], target);
		if (!others)
			return true;
	}
	return false;
}

static bool has_backend(const struct shunt_model_service *service, const char *target)
{
	for (size_t i = 0; i < service->n_variants; i++)
		for (size_t j = 0; j < service->variants[i].n_backends; j++)
			if (is_target(&service->variants[i].backends[j], target))
				return true;
	return false;
}

static int fail_unknown(const struct shunt_model_service *service, const char *target,
			struct shunt_err *err)
{
	return shunt_err_set(err, -ENOENT, "service %s/%s has no variant or backend %s",
			     service->namespace_, service->name, target);
}

static int check_backend_drain(const struct shunt_model_service *service, const char *target,
			       struct shunt_err *err)
{
	if (!has_backend(service, target))
		return fail_unknown(service, target, err);
	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];

		if (variant->weight && !variant->drained && is_last_backend(variant, target))
			return shunt_err_set(err, -EINVAL,
					     "%s is the last usable backend of variant %s: its "
					     "share would be rejected",
					     target, variant->name);
	}
	return 0;
}

static int check_variant_drain(const struct shunt_model_service *service, const char *target,
			       struct shunt_err *err)
{
	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];

		if (strcmp(variant->name, target) && variant->weight && !variant->drained)
			return 0;
	}
	return shunt_err_set(err, -EINVAL,
			     "no other variant of %s/%s has a weight: all connections would be "
			     "rejected",
			     service->namespace_, service->name);
}

/* Return: a place for the drain of @target: its own, or a new one; NULL: out of memory. */
static struct shunt_drain *drain_slot(struct shunt_record *record, const char *target)
{
	struct shunt_drain *drains;

	for (size_t i = 0; i < record->n_drains; i++)
		if (!strcmp(record->drains[i].target, target))
			return &record->drains[i];
	drains = reallocarray(record->drains, record->n_drains + 1, sizeof(*drains));
	if (!drains)
		return NULL;
	record->drains = drains;
	return &drains[record->n_drains++];
}

/* Fills @name with the target as it is remembered. Return: is it a backend? */
static bool name_of(const struct shunt_model_service *service, const char *target,
		    char name[SHUNT_NAME_LEN])
{
	bool is_backend = !shunt_model_variant_find(service, target);
	struct shunt_ip ip;
	uint16_t port;

	_Static_assert(SHUNT_ADDR_PORT_LEN <= SHUNT_NAME_LEN, "a backend is named like a variant");
	/* An IPv6 address has many spellings. */
	if (is_backend && !shunt_addr_port_parse(target, &ip, &port))
		shunt_addr_port_str(&ip, port, name);
	else
		snprintf(name, SHUNT_NAME_LEN, "%s", target);
	return is_backend;
}

int shunt_overrides_check_drain(const struct shunt_model_service *service, const char *target,
				struct shunt_err *err)
{
	char name[SHUNT_NAME_LEN];

	return name_of(service, target, name) ? check_backend_drain(service, name, err)
					      : check_variant_drain(service, name, err);
}

int shunt_overrides_drain(struct shunt_overrides *overrides,
			  const struct shunt_model_service *service, const char *target,
			  uint32_t deadline_s, const struct shunt_cause *cause,
			  struct shunt_err *err)
{
	int r = shunt_overrides_check_drain(service, target, err);

	if (r < 0)
		return r;
	return shunt_overrides_force_drain(overrides, service, target, deadline_s, cause, err);
}

int shunt_overrides_force_drain(struct shunt_overrides *overrides,
				const struct shunt_model_service *service, const char *target,
				uint32_t deadline_s, const struct shunt_cause *cause,
				struct shunt_err *err)
{
	char name[SHUNT_NAME_LEN];
	bool is_backend = name_of(service, target, name);
	struct shunt_record *record;
	struct shunt_drain *drain;

	if (is_backend && !has_backend(service, name))
		return fail_unknown(service, target, err);
	if (shunt_record_claim(overrides, service, true, &record) < 0)
		return -ENOMEM;
	shunt_record_end_outdated(record, service->source.digest);
	drain = drain_slot(record, name);
	if (!drain)
		return -ENOMEM;
	*drain = (struct shunt_drain){
		.is_backend = is_backend,
		.deadline_s = deadline_s,
		.when_ms = cause->when_ms,
		.who_uid = cause->who_uid,
	};
	memcpy(drain->target, name, sizeof(name));
	shunt_reason_copy(drain->reason, cause->reason ? cause->reason : "");
	return shunt_overrides_save(overrides, err);
}

size_t shunt_overrides_drains(const struct shunt_overrides *overrides,
			      const struct shunt_model_service *service,
			      const struct shunt_drain **ret_drains)
{
	const struct shunt_record *record = shunt_record_find(overrides, service);

	*ret_drains = record ? record->drains : NULL;
	return record ? record->n_drains : 0;
}

bool shunt_overrides_any_drain(const struct shunt_overrides *overrides)
{
	for (size_t i = 0; i < overrides->n_records; i++)
		if (overrides->records[i].n_drains)
			return true;
	return false;
}

bool shunt_drain_apply(const struct shunt_drain *drain, struct shunt_model_service *service)
{
	bool found = false;

	for (size_t i = 0; i < service->n_variants; i++) {
		struct shunt_model_variant *variant = &service->variants[i];

		if (!drain->is_backend && !strcmp(variant->name, drain->target)) {
			variant->drained = true;
			if (drain->deadline_s)
				variant->drain_deadline_s = drain->deadline_s;
			return true;
		}
		for (size_t j = 0; drain->is_backend && j < variant->n_backends; j++) {
			struct shunt_model_backend *backend = &variant->backends[j];

			if (!is_target(backend, drain->target))
				continue;
			found = true;
			backend->usable = false;
			if (backend->state == SHUNT_BACKEND_READY)
				backend->state = SHUNT_BACKEND_TERMINATING;
		}
	}
	return found;
}
