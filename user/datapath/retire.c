// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/installer.h"
#include "datapath/read.h"
#include "datapath/refs.h"
#include "datapath/want.h"
#include "shunt/histogram.h"

/* What a tick may give back if, after a grace period, no flow refers to it. */
struct harvest {
	uint8_t *backends; /* by id; 1: a candidate */
	uint32_t n_backends;
	uint32_t n_services;
	uint32_t n_variants;
};

/* ---- candidates --------------------------------------------------------------------------- */

static bool backend_may_go(const struct shunt_installer *installer, uint32_t id, uint32_t now)
{
	const struct shunt_backend *backend =
		SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id);

	return installer->backends[id].live && backend->flags & SHUNT_BE_REMOVED &&
	       (int32_t)(now - backend->drain_jiffies) >= 0 &&
	       !shunt_read_active(installer->maps, id);
}

static bool service_may_go(const struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_service *service =
		SHUNT_DP_AT(installer->maps->services, struct shunt_service, id);

	return installer->services[id].live && installer->services[id].mark != installer->mark &&
	       service->slot[installer_slot(installer)].flags & SHUNT_SVC_RELEASED;
}

/* Its backends go first: a variant's name and totals stay while they are there. */
static bool variant_may_go(const struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_variant_record *variant = &installer->variants[id];

	return variant->live && variant->mark != installer->mark && !variant->n_backends;
}

static int look_for_candidates(const struct shunt_installer *installer, struct harvest *harvest)
{
	const struct shunt_dp_maps *maps = installer->maps;
	uint32_t now = installer->env.jiffies(installer->env.ctx);

	harvest->backends = calloc(maps->backends.n, 1);
	if (!harvest->backends)
		return -ENOMEM;
	for (uint32_t id = 1; id < maps->backends.n; id++) {
		harvest->backends[id] = backend_may_go(installer, id, now);
		harvest->n_backends += harvest->backends[id];
	}
	for (uint32_t id = 1; id < maps->services.n; id++)
		harvest->n_services += service_may_go(installer, id);
	for (uint32_t id = 1; id < maps->variants.n; id++)
		harvest->n_variants += variant_may_go(installer, id);
	return 0;
}

/*
 * A first look without waiting: what has flows now need not cost a grace period every second
 * for as long as they live.
 */
static int discard_busy(const struct shunt_installer *installer, struct harvest *harvest)
{
	const struct shunt_dp_maps *maps = installer->maps;
	struct shunt_refs refs = { 0 };
	int r = shunt_refs_scan(maps, &refs);

	if (r < 0)
		return r;
	for (uint32_t id = 1; id < maps->backends.n; id++) {
		if (!harvest->backends[id] || !refs.backends[id])
			continue;
		harvest->backends[id] = 0;
		harvest->n_backends--;
	}
	for (uint32_t id = 1; id < maps->services.n; id++)
		if (refs.services[id] && service_may_go(installer, id))
			harvest->n_services--;
	shunt_refs_done(&refs);
	return 0;
}

/* ---- services -------------------------------------------------------------------------------- */

static int remove_frontends(struct shunt_installer *installer)
{
	struct shunt_fe *fe = NULL;
	int r;

	while ((fe = shunt_frontends_next(&installer->frontends, fe))) {
		uint32_t service = shunt_installer_service_at(installer, fe);
		struct shunt_frontend value = { .flags = fe->n_backends ? SHUNT_FE_BACKEND : 0 };

		if (!service || !installer->services[service].dying)
			continue;
		r = shunt_frontends_write(&installer->frontends, fe, &value);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The account goes with the last port of its Service: no flow of it is there any more. */
static void forget_account(struct shunt_installer *installer, uint32_t account)
{
	if (shunt_account_is_used(installer, account))
		return;
	memset(SHUNT_DP_AT(installer->maps->service_active, struct shunt_active, account), 0,
	       sizeof(struct shunt_active));
	shunt_ids_reclaim(installer->ids, SHUNT_ID_ACCOUNT, account);
}

static void forget_service(struct shunt_installer *installer, uint32_t id)
{
	struct shunt_rule *rule = SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, id);
	const struct shunt_service *service =
		SHUNT_DP_AT(installer->maps->services, struct shunt_service, id);
	uint32_t account = service->account;

	shunt_policy_use(installer, service->policy[installer_slot(installer)], -1);
	shunt_split_retire(installer, rule->split[installer_slot(installer)], 0);
	memset(rule, 0, sizeof(*rule));
	memset(SHUNT_DP_AT(installer->maps->services, struct shunt_service, id), 0,
	       sizeof(struct shunt_service));
	memset(SHUNT_DP_AT(installer->maps->service_names, struct shunt_service_name, id), 0,
	       sizeof(struct shunt_service_name));
	installer->services[id] = (struct shunt_service_record){ 0 };
	shunt_ids_reclaim(installer->ids, SHUNT_ID_SERVICE, id);
	forget_account(installer, account);
}

/*
 * Two ticks: first nobody finds the service any more; a grace period later nobody still uses
 * its index. Those that died in the tick before go before those that die in this one.
 */
static int retire_services(struct shunt_installer *installer, const struct shunt_refs *refs)
{
	int r;

	for (uint32_t id = 1; id < installer->maps->services.n; id++) {
		if (!service_may_go(installer, id))
			continue;
		if (installer->services[id].dying)
			forget_service(installer, id);
		else if (!refs->services[id])
			installer->services[id].dying = true;
	}
	r = remove_frontends(installer);
	/* What can still be found has not died. */
	for (uint32_t id = 1; r < 0 && id < installer->maps->services.n; id++)
		installer->services[id].dying = false;
	return r;
}

/* ---- backends ----------------------------------------------------------------------------------
 */

static int zero_counters(int fd, uint32_t id)
{
	CLEANUP(freep) struct shunt_counters *cells = NULL;
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;
	cells = calloc(cpus, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	return bpf_map_update_elem(fd, &id, cells, BPF_ANY) < 0 ? -errno : 0;
}

/*
 * Moves a backend's totals to its variant. Nobody writes the backend's any more. The
 * variant's count rejects: one that falls between our reading and writing, a few
 * microseconds, is lost, because the kernel can only write the cells of all CPUs at once.
 */
static int move_counters(const struct shunt_installer *installer, uint32_t backend,
			 uint32_t variant)
{
	CLEANUP(freep) struct shunt_counters *cells = NULL;
	int fd = installer->maps->variant_counters_fd;
	int cpus = libbpf_num_possible_cpus();
	struct shunt_counters sum;
	int r;

	r = shunt_read_backend(installer->maps, backend, &sum);
	if (r < 0)
		return r;
	/* Never used: nothing to lose. */
	if (!memcmp(&sum, &(struct shunt_counters){ 0 }, sizeof(sum)))
		return 0;
	if (cpus < 0)
		return cpus;
	cells = calloc(cpus, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &variant, cells) < 0)
		return -errno;
	shunt_counters_add(&cells[0], &sum);
	if (bpf_map_update_elem(fd, &variant, cells, BPF_ANY) < 0)
		return -errno;
	return zero_counters(installer->maps->backend_counters_fd, backend);
}

static int retire_backend(struct shunt_installer *installer, uint32_t id)
{
	struct shunt_backend *backend =
		SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id);
	struct shunt_ip ip = { .addr = backend->addr, .family = backend->family };
	struct shunt_frontend_key key =
		shunt_frontend_key(&ip, ntohs(backend->port_be), backend->proto);
	struct shunt_fe *fe = shunt_frontends_get(&installer->frontends, &key);
	struct shunt_frontend value;
	int r;

	if (!fe)
		return -ENOMEM;
	r = move_counters(installer, id, backend->variant);
	if (r < 0)
		return r;
	value = fe->written;
	if (fe->n_backends <= 1)
		value.flags &= ~SHUNT_FE_BACKEND;
	r = shunt_frontends_write(&installer->frontends, fe, &value);
	if (r < 0)
		return r;
	shunt_installer_count_backend(installer, id, -1);
	memset(backend, 0, sizeof(*backend));
	shunt_guard_forget_backend(installer, id);
	installer->backends[id].live = false;
	shunt_ids_reclaim(installer->ids, SHUNT_ID_BACKEND, id);
	return 0;
}

static int retire_backends(struct shunt_installer *installer, const struct shunt_refs *refs,
			   uint8_t *candidates)
{
	uint32_t n = installer->maps->backends.n;
	int r;

	for (uint32_t id = 1; id < n; id++)
		if (refs->backends[id] || shunt_read_active(installer->maps, id))
			candidates[id] = 0;
	r = shunt_refs_forget_sessions(installer->maps, candidates);
	for (uint32_t id = 1; r == 0 && id < n; id++)
		if (candidates[id])
			r = retire_backend(installer, id);
	return r;
}

/* ---- variants
 * ------------------------------------------------------------------------------------ */

static int retire_variant(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_dp_maps *maps = installer->maps;
	int r = zero_counters(maps->variant_counters_fd, id);

	if (r < 0)
		return r;
	memset(SHUNT_DP_AT(maps->variants, struct shunt_variant, id), 0,
	       sizeof(struct shunt_variant));
	memset(SHUNT_DP_AT(maps->variant_names, struct shunt_variant_name, id), 0,
	       sizeof(struct shunt_variant_name));
	/* What the kernel decided about this variant is not about the next one of this index. */
	memset(SHUNT_DP_AT(maps->overlay, struct shunt_overlay, id), 0,
	       sizeof(struct shunt_overlay));
	memset(SHUNT_DP_AT(maps->dead_man_counts, struct shunt_dead_man_counts, id), 0,
	       sizeof(struct shunt_dead_man_counts));
	memset(SHUNT_DP_AT(maps->variant_active, struct shunt_active, id), 0,
	       sizeof(struct shunt_active));
	memset(SHUNT_DP_AT(maps->response_times, struct shunt_response_time,
			   id * SHUNT_TIME_BUCKETS),
	       0, SHUNT_TIME_BUCKETS * sizeof(struct shunt_response_time));
	memset(SHUNT_DP_AT(maps->connect_times, struct shunt_connect_time, id * SHUNT_TIME_BUCKETS),
	       0, SHUNT_TIME_BUCKETS * sizeof(struct shunt_connect_time));
	shunt_guard_forget_variant(installer, id);
	installer->variants[id] = (struct shunt_variant_record){ 0 };
	shunt_ids_reclaim(installer->ids, SHUNT_ID_VARIANT, id);
	return 0;
}

static int retire_variants(struct shunt_installer *installer)
{
	int r = 0;

	for (uint32_t id = 1; r == 0 && id < installer->maps->variants.n; id++)
		if (variant_may_go(installer, id))
			r = retire_variant(installer, id);
	return r;
}

/* ---- the tick
 * ------------------------------------------------------------------------------------- */

static int reap(struct shunt_installer *installer, struct harvest *harvest)
{
	struct shunt_refs refs = { 0 };
	int r;

	/* Packets in flight may be about to make a flow to a candidate. */
	r = shunt_installer_grace(installer);
	if (r < 0)
		return r;
	r = shunt_buckets_retire(installer);
	if (r < 0)
		return r;
	shunt_instances_retire(installer);
	/* Variants first: those whose last backend goes now need a grace period of their own. */
	r = retire_variants(installer);
	if (r < 0 || !(harvest->n_backends || harvest->n_services))
		return r;
	r = shunt_refs_scan(installer->maps, &refs);
	if (r < 0)
		return r;
	r = retire_services(installer, &refs);
	if (r == 0)
		r = retire_backends(installer, &refs, harvest->backends);
	shunt_frontends_trim(&installer->frontends);
	shunt_refs_done(&refs);
	return r;
}

int shunt_installer_retire(struct shunt_installer *installer)
{
	struct harvest harvest = { 0 };
	bool waits;
	int r;

	if (installer->unsettled) {
		r = shunt_installer_settle(installer);
		if (r < 0)
			return r;
	}
	/* Before the first install nobody knows what is wanted. */
	if (!installer->installed)
		return 0;
	r = look_for_candidates(installer, &harvest);
	if (r < 0)
		return r;
	if (harvest.n_backends || harvest.n_services)
		r = discard_busy(installer, &harvest);
	waits = shunt_place_waits(&installer->splits) || shunt_place_waits(&installer->rings) ||
		shunt_place_waits(&installer->policies) || shunt_buckets_wait(installer) ||
		shunt_place_waits(&installer->breakers) || shunt_instances_wait(installer);
	if (r == 0 && (waits || harvest.n_backends || harvest.n_services || harvest.n_variants))
		r = reap(installer, &harvest);
	free(harvest.backends);
	return r;
}
