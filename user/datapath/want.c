// SPDX-License-Identifier: Apache-2.0
#include "datapath/want.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "shunt/compat.h"

/*
 * The deadline of a backend whose variant was gone when this agent started, so that no
 * manifest tells it any more: the default of the manifests.
 */
#define UNKNOWN_DRAIN_S 60

/* Twice the largest deadline must stay below the 2^31 that signed differences can tell. */
static uint32_t deadline(const struct shunt_installer *installer, uint32_t drain_s)
{
	uint64_t jiffies = (uint64_t)drain_s * installer->env.hz;

	if (jiffies > 1u << 30)
		jiffies = 1u << 30;
	return installer->env.jiffies(installer->env.ctx) + (uint32_t)jiffies;
}

/* ---- marking ------------------------------------------------------------------------------- */

static int want_frontend(struct shunt_installer *installer, const struct shunt_image_port *port,
			 const struct shunt_image_frontend *frontend, struct shunt_err *err)
{
	struct shunt_frontend_key key =
		shunt_frontend_key(&frontend->ip, frontend->port, port->proto);
	struct shunt_fe *fe = shunt_frontends_get(&installer->frontends, &key);
	char text[SHUNT_IP_STR_LEN];

	if (!fe)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	if (fe->mark == installer->mark && fe->want != port->id)
		return shunt_err_set(err, -EEXIST, "address %s port %u is wanted by two services",
				     shunt_ip_str(&frontend->ip, text), frontend->port);
	fe->mark = installer->mark;
	fe->want = port->id;
	fe->want_balancer = frontend->is_balancer;
	return 0;
}

/* A variant is drained if all that name it say so; the longest deadline counts. */
static void want_variant(struct shunt_installer *installer, const struct shunt_image_variant *from)
{
	struct shunt_variant_record *variant = &installer->variants[from->id];
	bool first = variant->mark != installer->mark;

	variant->drained = from->drained && (first || variant->drained);
	if (first || from->drain_deadline_s > variant->drain_s)
		variant->drain_s = from->drain_deadline_s;
	variant->weight = from->asked;
	variant->mark = installer->mark;
}

/* A backend of two ports gets new connections if one of them wants it to. */
static void want_backend(struct shunt_installer *installer, const struct shunt_image_backend *from)
{
	struct shunt_backend_record *backend = &installer->backends[from->id];

	backend->flags =
		backend->mark == installer->mark ? backend->flags & from->flags : from->flags;
	backend->mark = installer->mark;
}

static int want_port(struct shunt_installer *installer, const struct shunt_image_port *port,
		     struct shunt_err *err)
{
	struct shunt_service_record *service = &installer->services[port->id];
	int r;

	if (port->id >= installer->maps->rules.n)
		return shunt_err_set(err, -ENOSPC, "map shunt_rules is full: raise --max-services");
	if (service->mark == installer->mark)
		return shunt_err_set(err, -EEXIST, "port %u of one service is given twice",
				     port->port);
	service->mark = installer->mark;
	for (size_t i = 0; i < port->n_frontends; i++) {
		r = want_frontend(installer, port, &port->frontends[i], err);
		if (r < 0)
			return r;
	}
	for (size_t v = 0; v < port->n_variants; v++)
		want_variant(installer, &port->variants[v]);
	for (size_t b = 0; b < port->n_backends; b++)
		want_backend(installer, &port->backends[b]);
	return 0;
}

int shunt_want_images(struct shunt_installer *installer,
		      const struct shunt_image_service *const *images, size_t n,
		      struct shunt_err *err)
{
	int r;

	installer->mark++;
	for (size_t i = 0; i < n; i++) {
		for (size_t p = 0; p < images[i]->n_ports; p++) {
			r = want_port(installer, &images[i]->ports[p], err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- flags and deadlines --------------------------------------------------------------------- */

/* Each of these four returns: did it change what packets see? */
static bool permit_variant(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_variant_record *record = &installer->variants[id];
	struct shunt_variant *variant =
		SHUNT_DP_AT(installer->maps->variants, struct shunt_variant, id);

	if (record->mark != installer->mark || record->drained || !variant->flags)
		return false;
	SHUNT_WRITE_ONCE(variant->flags, 0);
	return true;
}

static bool permit_backend(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_backend_record *record = &installer->backends[id];
	struct shunt_backend *backend =
		SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id);

	if (record->mark != installer->mark || !(backend->flags & ~record->flags))
		return false;
	SHUNT_WRITE_ONCE(backend->flags, backend->flags & record->flags);
	return true;
}

bool shunt_want_permit(struct shunt_installer *installer)
{
	bool changed = false;

	for (uint32_t id = 1; id < installer->maps->variants.n; id++)
		if (installer->variants[id].live)
			changed |= permit_variant(installer, id);
	for (uint32_t id = 1; id < installer->maps->backends.n; id++)
		if (installer->backends[id].live)
			changed |= permit_backend(installer, id);
	return changed;
}

static bool restrict_variant(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_variant_record *record = &installer->variants[id];
	bool wanted = record->mark == installer->mark;
	struct shunt_variant *variant =
		SHUNT_DP_AT(installer->maps->variants, struct shunt_variant, id);

	if ((wanted && !record->drained) || variant->flags & SHUNT_VAR_DRAINED)
		return false;
	/* The deadline first: who sees the flag must see it. */
	variant->drain_jiffies = deadline(installer, record->drain_s);
	__atomic_store_n(&variant->flags, SHUNT_VAR_DRAINED, __ATOMIC_RELEASE);
	return true;
}

static bool restrict_backend(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_backend_record *record = &installer->backends[id];
	struct shunt_backend *backend =
		SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id);
	const struct shunt_variant_record *variant = &installer->variants[backend->variant];

	if (record->mark == installer->mark) {
		if (backend->flags == record->flags)
			return false;
		SHUNT_WRITE_ONCE(backend->flags, record->flags);
		return true;
	}
	if (backend->flags & SHUNT_BE_REMOVED)
		return false;
	backend->drain_jiffies = deadline(installer, variant->drain_s);
	__atomic_store_n(&backend->flags, SHUNT_BE_REMOVED, __ATOMIC_RELEASE);
	return true;
}

bool shunt_want_restrict(struct shunt_installer *installer)
{
	bool changed = false;

	if (!installer->installed)
		for (uint32_t id = 1; id < installer->maps->variants.n; id++)
			if (installer->variants[id].mark != installer->mark)
				installer->variants[id].drain_s = UNKNOWN_DRAIN_S;
	for (uint32_t id = 1; id < installer->maps->variants.n; id++)
		if (installer->variants[id].live)
			changed |= restrict_variant(installer, id);
	for (uint32_t id = 1; id < installer->maps->backends.n; id++)
		if (installer->backends[id].live)
			changed |= restrict_backend(installer, id);
	return changed;
}

/* ---- ids ---------------------------------------------------------------------------------------
 */

bool shunt_account_is_used(const struct shunt_installer *installer, uint32_t account)
{
	for (uint32_t id = 1; id < installer->maps->services.n; id++)
		if (installer->services[id].live &&
		    SHUNT_DP_AT(installer->maps->services, struct shunt_service, id)->account ==
			    account)
			return true;
	return false;
}

static void trim(struct shunt_ids *ids, enum shunt_id_kind kind, uint32_t id, bool live)
{
	if (!live && shunt_ids_bound(ids, kind, id))
		shunt_ids_reclaim(ids, kind, id);
}

/* In one pass over the services, however many there are. Without memory they wait for the next. */
static void trim_accounts(struct shunt_installer *installer)
{
	const struct shunt_dp_array *services = &installer->maps->services;
	CLEANUP(freep) uint8_t *used = calloc(services->n, 1);

	for (uint32_t id = 1; used && id < services->n; id++) {
		uint32_t account = SHUNT_DP_AT(*services, struct shunt_service, id)->account;

		if (installer->services[id].live && account < services->n)
			used[account] = 1;
	}
	for (uint32_t id = 1; used && id < services->n; id++)
		trim(installer->ids, SHUNT_ID_ACCOUNT, id, used[id]);
}

void shunt_want_trim_ids(struct shunt_installer *installer)
{
	const struct shunt_dp_maps *maps = installer->maps;

	for (uint32_t id = 1; id < maps->services.n; id++)
		trim(installer->ids, SHUNT_ID_SERVICE, id, installer->services[id].live);
	for (uint32_t id = 1; id < maps->variants.n; id++)
		trim(installer->ids, SHUNT_ID_VARIANT, id, installer->variants[id].live);
	for (uint32_t id = 1; id < maps->backends.n; id++)
		trim(installer->ids, SHUNT_ID_BACKEND, id, installer->backends[id].live);
	for (uint32_t id = 1; id < maps->buckets.n; id++)
		trim(installer->ids, SHUNT_ID_BUCKET, id, installer->buckets[id].live);
	for (uint32_t id = 1; id < maps->breaker_names.n; id++)
		trim(installer->ids, SHUNT_ID_BREAKER, id, installer->instances[id].live);
	trim_accounts(installer);
}
