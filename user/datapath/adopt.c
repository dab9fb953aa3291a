// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/installer.h"

/* ---- settling -------------------------------------------------------------------------------- */

int shunt_installer_grace(struct shunt_installer *installer)
{
	int r = installer->env.grace(installer->env.ctx);

	if (r < 0)
		return r;
	shunt_place_settle(&installer->splits);
	shunt_place_settle(&installer->rings);
	shunt_place_settle(&installer->members);
	shunt_place_settle(&installer->policies);
	shunt_place_settle(&installer->breakers);
	shunt_policy_sweep_sources(installer);
	return 0;
}

uint32_t shunt_installer_service_at(const struct shunt_installer *installer,
				    const struct shunt_fe *fe)
{
	uint32_t service = fe->written.service[installer_slot(installer)];

	if (service >= installer->maps->services.n || !installer->services[service].live)
		return 0;
	return service;
}

/* What stands at @fe when both slots are equal. */
static struct shunt_frontend settled(const struct shunt_installer *installer,
				     const struct shunt_fe *fe)
{
	uint32_t service = shunt_installer_service_at(installer, fe);

	bool is_balancer =
		service && fe->written.flags & SHUNT_FE_BALANCER(installer_slot(installer));

	return (struct shunt_frontend){
		.service = { service, service },
		.flags = (fe->n_backends ? SHUNT_FE_BACKEND : 0) |
			 (is_balancer ? SHUNT_FE_BALANCER_0 | SHUNT_FE_BALANCER_1 : 0),
	};
}

int shunt_installer_sync(struct shunt_installer *installer)
{
	uint32_t active = installer_slot(installer);
	struct shunt_fe *fe = NULL;
	int r;

	for (uint32_t id = 1; id < installer->maps->services.n; id++) {
		struct shunt_service *service =
			SHUNT_DP_AT(installer->maps->services, struct shunt_service, id);
		struct shunt_rule *rule =
			SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, id);

		if (!installer->services[id].live)
			continue;
		service->slot[!active] = service->slot[active];
		service->policy[!active] = service->policy[active];
		rule->split[!active] = rule->split[active];
	}
	shunt_guards_sync(installer);
	while ((fe = shunt_frontends_next(&installer->frontends, fe))) {
		struct shunt_frontend value = settled(installer, fe);

		r = shunt_frontends_write(&installer->frontends, fe, &value);
		if (r < 0)
			return r;
	}
	shunt_frontends_trim(&installer->frontends);
	return 0;
}

int shunt_installer_settle(struct shunt_installer *installer)
{
	int r = shunt_installer_grace(installer);

	if (r == 0)
		r = shunt_installer_sync(installer);
	if (r == 0)
		installer->unsettled = false;
	return r;
}

int shunt_installer_count_backend(struct shunt_installer *installer, uint32_t id, int change)
{
	const struct shunt_backend *backend =
		SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id);
	struct shunt_ip ip = { .addr = backend->addr, .family = backend->family };
	struct shunt_frontend_key key =
		shunt_frontend_key(&ip, ntohs(backend->port_be), backend->proto);
	struct shunt_fe *fe = shunt_frontends_get(&installer->frontends, &key);

	if (!fe)
		return -ENOMEM;
	fe->n_backends += change;
	installer->variants[backend->variant].n_backends += change;
	return 0;
}

/* ---- adoption: names become ids
 * ------------------------------------------------------------------ */

/* Names come from maps that others may have written: never trust their end. */
static bool name_ends(const char *name)
{
	return memchr(name, 0, SHUNT_NAME_LEN);
}

static int adopt_service(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_service_name *name =
		SHUNT_DP_AT(installer->maps->service_names, struct shunt_service_name, id);
	const struct shunt_rule *rule = SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, id);
	uint32_t split = rule->split[installer_slot(installer)];
	char key[SHUNT_ID_KEY_LEN];
	int r;

	if (!name->name[0])
		return 0;
	if (!name_ends(name->namespace_) || !name_ends(name->name))
		return -EINVAL;
	shunt_id_service_key(key, name->namespace_, name->name, ntohs(name->port_be), name->proto);
	r = shunt_ids_adopt(installer->ids, SHUNT_ID_SERVICE, key, id);
	if (r < 0)
		return r;
	installer->services[id].live = true;
	shunt_id_account_key(key, name->namespace_, name->name);
	r = shunt_ids_adopt(
		installer->ids, SHUNT_ID_ACCOUNT, key,
		SHUNT_DP_AT(installer->maps->services, struct shunt_service, id)->account);
	/* Another port of the same Service was first. */
	if (r < 0 && r != -EEXIST)
		return r;
	return split ? shunt_split_adopt(installer, split) : 0;
}

static int adopt_variant(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_variant_name *name =
		SHUNT_DP_AT(installer->maps->variant_names, struct shunt_variant_name, id);
	char key[SHUNT_ID_KEY_LEN];

	if (!name->variant[0])
		return 0;
	if (!name_ends(name->namespace_) || !name_ends(name->service) || !name_ends(name->variant))
		return -EINVAL;
	shunt_id_variant_key(key, name->namespace_, name->service, ntohs(name->port_be),
			     name->proto, name->variant);
	installer->variants[id].live = true;
	return shunt_ids_adopt(installer->ids, SHUNT_ID_VARIANT, key, id);
}

static int adopt_backend(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_backend *backend =
		SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id);
	struct shunt_ip ip = { .addr = backend->addr, .family = backend->family };
	char key[SHUNT_ID_KEY_LEN];
	int r;

	if (!backend->port_be)
		return 0;
	if (backend->variant >= installer->maps->variants.n || backend->family >= SHUNT_N_FAMILIES)
		return -EINVAL;
	shunt_id_backend_key(key, backend->variant, &ip, ntohs(backend->port_be), backend->proto);
	r = shunt_ids_adopt(installer->ids, SHUNT_ID_BACKEND, key, id);
	if (r < 0)
		return r;
	installer->backends[id].live = true;
	return shunt_installer_count_backend(installer, id, 1);
}

static int adopt_all(struct shunt_installer *installer, uint32_t n, const char *map,
		     int (*adopt)(struct shunt_installer *installer, uint32_t id),
		     struct shunt_err *err)
{
	for (uint32_t id = 1; id < n; id++) {
		int r = adopt(installer, id);

		if (r == -ENOMEM)
			return shunt_err_set(err, r, "out of memory");
		if (r < 0)
			return shunt_err_set(err, -EUCLEAN,
					     "pinned map shunt_%s: entry %u makes no sense; "
					     "`shunt detach` removes the pins",
					     map, id);
	}
	return 0;
}

/* Did an agent die between filling the idle slots and bringing both to the same state? */
static bool slots_differ(const struct shunt_installer *installer)
{
	struct shunt_fe *fe = NULL;

	for (uint32_t id = 1; id < installer->maps->services.n; id++) {
		const struct shunt_service *service =
			SHUNT_DP_AT(installer->maps->services, struct shunt_service, id);
		const struct shunt_rule *rule =
			SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, id);

		if (!installer->services[id].live)
			continue;
		if (memcmp(&service->slot[0], &service->slot[1], sizeof(service->slot[0])) ||
		    service->policy[0] != service->policy[1] || rule->split[0] != rule->split[1])
			return true;
	}
	while ((fe = shunt_frontends_next(&installer->frontends, fe))) {
		struct shunt_frontend value = settled(installer, fe);

		if (memcmp(&fe->written, &value, sizeof(value)))
			return true;
	}
	return false;
}

int shunt_installer_adopt(struct shunt_installer *installer, struct shunt_err *err)
{
	const struct shunt_dp_maps *maps = installer->maps;
	int r;

	r = shunt_frontends_init(&installer->frontends, maps->frontends_fd);
	if (r < 0)
		return shunt_err_set(err, r, "map shunt_frontends: %s", strerror(-r));
	r = adopt_all(installer, maps->services.n, "service_names", adopt_service, err);
	if (r == 0)
		r = adopt_all(installer, maps->variants.n, "variant_names", adopt_variant, err);
	if (r == 0)
		r = adopt_all(installer, maps->backends.n, "backends", adopt_backend, err);
	if (r < 0)
		return r;
	r = shunt_policies_adopt(installer);
	if (r < 0)
		return shunt_err_set(err, r == -ENOMEM ? r : -EUCLEAN,
				     "pinned maps shunt_policies and shunt_bucket_names make no "
				     "sense; `shunt detach` removes the pins");
	r = shunt_guards_adopt(installer);
	if (r < 0)
		return shunt_err_set(err, r == -ENOMEM ? r : -EUCLEAN,
				     "pinned maps shunt_variant_guards and shunt_breaker_names "
				     "make no sense; `shunt detach` removes the pins");
	if (!slots_differ(installer) && !shunt_guards_differ(installer))
		return 0;
	r = shunt_installer_settle(installer);
	if (r < 0)
		return shunt_err_set(err, r, "finishing an interrupted change: %s", strerror(-r));
	return 0;
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

void shunt_installer_free(struct shunt_installer *installer)
{
	if (!installer)
		return;
	shunt_place_done(&installer->splits);
	shunt_place_done(&installer->rings);
	shunt_place_done(&installer->members);
	shunt_place_done(&installer->policies);
	shunt_place_done(&installer->breakers);
	shunt_frontends_done(&installer->frontends);
	shunt_ids_free(installer->ids);
	free(installer->services);
	free(installer->variants);
	free(installer->backends);
	free(installer->buckets);
	free(installer->policy_users);
	free(installer->instances);
	free(installer->breaker_users);
	free(installer->policy_sources);
	free(installer);
}

static void installer_freep(struct shunt_installer **installer)
{
	shunt_installer_free(*installer);
}

static int allocate(struct shunt_installer *installer)
{
	const struct shunt_dp_maps *maps = installer->maps;
	uint32_t limit[SHUNT_N_ID_KINDS] = {
		[SHUNT_ID_SERVICE] = maps->services.n, [SHUNT_ID_VARIANT] = maps->variants.n,
		[SHUNT_ID_BACKEND] = maps->backends.n, [SHUNT_ID_BUCKET] = maps->buckets.n,
		[SHUNT_ID_ACCOUNT] = maps->services.n, [SHUNT_ID_BREAKER] = maps->breaker_names.n,
	};

	installer->ids = shunt_ids_new(limit);
	installer->services = calloc(maps->services.n, sizeof(*installer->services));
	installer->variants = calloc(maps->variants.n, sizeof(*installer->variants));
	installer->backends = calloc(maps->backends.n, sizeof(*installer->backends));
	installer->buckets = calloc(maps->buckets.n, sizeof(*installer->buckets));
	installer->policy_users = calloc(maps->policies.n, sizeof(*installer->policy_users));
	installer->instances = calloc(maps->breaker_names.n, sizeof(*installer->instances));
	installer->breaker_users = calloc(maps->breakers.n, sizeof(*installer->breaker_users));
	installer->policy_sources = calloc(maps->policies.n, sizeof(*installer->policy_sources));
	if (!installer->ids || !installer->services || !installer->variants ||
	    !installer->backends || !installer->buckets || !installer->policy_users ||
	    !installer->policy_sources || !installer->instances || !installer->breaker_users)
		return -ENOMEM;
	/* Split 0 means "rejects", so the record is never used. */
	if (shunt_place_init(&installer->splits, 1, maps->splits.n) < 0 ||
	    shunt_place_init(&installer->rings, 0, maps->rings.n) < 0 ||
	    shunt_place_init(&installer->members, 0, maps->members.n) < 0 ||
	    shunt_place_init(&installer->policies, 1, maps->policies.n) < 0 ||
	    shunt_place_init(&installer->breakers, 1, maps->breakers.n) < 0)
		return -ENOMEM;
	return 0;
}

int shunt_installer_create(const struct shunt_installer_env *env,
			   struct shunt_installer **ret_installer, struct shunt_err *err)
{
	CLEANUP(installer_freep) struct shunt_installer *installer = NULL;
	int r;

	if (env->maps->rules.n < env->maps->services.n)
		return shunt_err_set(err, -EINVAL,
				     "map shunt_rules is smaller than shunt_services");
	installer = calloc(1, sizeof(*installer));
	if (!installer)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	installer->env = *env;
	installer->maps = env->maps;
	if (allocate(installer) < 0)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	r = shunt_installer_adopt(installer, err);
	if (r < 0)
		return r;
	*ret_installer = TAKE_PTR(installer);
	return 0;
}

struct shunt_ids *shunt_installer_ids(struct shunt_installer *installer)
{
	return installer->ids;
}
