// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/mono.h"
#include "datapath/installer.h"
#include "datapath/want.h"

/*
 * An install has three parts: want.c marks what is wanted; this file prepares everything
 * that can fail where no packet sees it, then commits, which cannot fail.
 */

/* One kernel service whose two-slot words change. */
struct change {
	uint32_t service;
	struct shunt_service_slot slot;
	uint32_t old_split;
	uint32_t new_split;
	uint32_t old_policy;
	uint32_t new_policy;
	bool slot_changes; /* or the policy */
};

struct plan {
	struct shunt_installer *installer;
	struct change *changes;
	size_t n_changes;
	uint32_t *new_variants; /* written by this install, to be cleared if it fails */
	size_t n_new_variants;
	uint32_t *new_backends;
	size_t n_new_backends;
	uint32_t *new_policies; /* held by this install */
	size_t n_new_policies;
	struct shunt_guard_plan guards;
	bool frontends_change; /* some address gets another service */
	uint32_t services_changed;
	struct shunt_err *err;
};

static int out_of_memory(struct shunt_err *err)
{
	return shunt_err_set(err, -ENOMEM, "out of memory");
}

static void touch(struct plan *plan, uint32_t service)
{
	struct shunt_service_record *record = &plan->installer->services[service];

	if (record->touched == plan->installer->mark)
		return;
	record->touched = plan->installer->mark;
	plan->services_changed++;
}

/* ---- prepare: splits ---------------------------------------------------------------------- */

static struct shunt_service_slot wanted_slot(const struct shunt_installer *installer,
					     const struct shunt_image_service *image,
					     const struct shunt_image_port *port)
{
	const struct shunt_affinity_spec *affinity = &image->affinity;
	struct shunt_service_slot slot = {
		.rule_first = port->id,
		.rule_count = 1,
		.flags = image->flags | port->flags,
		.affinity = affinity->kind,
		.prefix_len = { affinity->prefix_len_4, affinity->prefix_len_6 },
	};

	if (affinity->kind == SHUNT_AFFINITY_SESSION)
		slot.session_jiffies = affinity->timeout_s * installer->env.hz;
	return slot;
}

static uint32_t policy_of(const struct shunt_installer *installer, uint32_t service)
{
	return SHUNT_DP_AT(installer->maps->services, struct shunt_service, service)
		->policy[installer_slot(installer)];
}

/* The policy of @image: that of its first port, if it is the same, or a new one. */
static int prepare_policy(struct plan *plan, const struct shunt_image_service *image,
			  uint32_t *ret_policy)
{
	struct shunt_installer *installer = plan->installer;
	uint32_t service = image->n_ports ? image->ports[0].id : 0;
	uint32_t old = policy_of(installer, service), *added;
	int r;

	r = shunt_policy_prepare(installer, image->policy, service, old, ret_policy, plan->err);
	if (r < 0 || !*ret_policy || *ret_policy == old)
		return r;
	added = shunt_array_add(&plan->new_policies, &plan->n_new_policies, sizeof(*added));
	if (!added) {
		shunt_policy_abandon(installer, *ret_policy);
		return out_of_memory(plan->err);
	}
	*added = *ret_policy;
	return 0;
}

static int prepare_port(struct plan *plan, const struct shunt_image_service *image,
			const struct shunt_image_port *port, uint32_t policy)
{
	struct shunt_installer *installer = plan->installer;
	uint32_t active = installer_slot(installer);
	const struct shunt_service *service =
		SHUNT_DP_AT(installer->maps->services, struct shunt_service, port->id);
	const struct shunt_rule *rule =
		SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, port->id);
	struct change *change;
	int r;

	change = shunt_array_add(&plan->changes, &plan->n_changes, sizeof(*change));
	if (!change)
		return out_of_memory(plan->err);
	change->service = port->id;
	change->slot = wanted_slot(installer, image, port);
	change->old_split = rule->split[active];
	change->new_split = change->old_split;
	change->old_policy = policy_of(installer, port->id);
	change->new_policy = policy;
	r = shunt_split_prepare(installer, port, change->old_split, &change->new_split, plan->err);
	if (r < 0)
		return r;
	change->slot_changes =
		memcmp(&change->slot, &service->slot[active], sizeof(change->slot)) != 0 ||
		change->new_policy != change->old_policy;
	if (change->slot_changes || change->new_split != change->old_split)
		touch(plan, port->id);
	else
		plan->n_changes--;
	return 0;
}

static bool is_released(const struct shunt_installer *installer, uint32_t service)
{
	const struct shunt_service *record =
		SHUNT_DP_AT(installer->maps->services, struct shunt_service, service);

	return record->slot[installer_slot(installer)].flags & SHUNT_SVC_RELEASED;
}

static bool is_installed(const struct shunt_installer *installer,
			 const struct shunt_image_service *image,
			 const struct shunt_image_port *port)
{
	const struct shunt_service_record *record = &installer->services[port->id];

	return record->live && record->digest == image->digest;
}

static int prepare_image(struct plan *plan, const struct shunt_image_service *image)
{
	struct shunt_installer *installer = plan->installer;
	bool has_policy = false;
	uint32_t policy = 0;
	int r;

	for (size_t p = 0; p < image->n_ports; p++) {
		if (is_installed(installer, image, &image->ports[p]))
			continue;
		if (!has_policy) {
			r = prepare_policy(plan, image, &policy);
			if (r < 0)
				return r;
			has_policy = true;
		}
		r = prepare_port(plan, image, &image->ports[p], policy);
		if (r < 0)
			return r;
	}
	return 0;
}

static int prepare_images(struct plan *plan, const struct shunt_image_service *const *images,
			  size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = prepare_image(plan, images[i]);
	return r;
}

/* Services that nobody wants any more: their entries live on, new flows are passed. */
static int prepare_releases(struct plan *plan)
{
	struct shunt_installer *installer = plan->installer;
	uint32_t active = installer_slot(installer);

	for (uint32_t id = 1; id < installer->maps->services.n; id++) {
		const struct shunt_service_record *record = &installer->services[id];
		struct change *change;

		if (!record->live || record->mark == installer->mark || is_released(installer, id))
			continue;
		change = shunt_array_add(&plan->changes, &plan->n_changes, sizeof(*change));
		if (!change)
			return out_of_memory(plan->err);
		change->service = id;
		change->slot = SHUNT_DP_AT(installer->maps->services, struct shunt_service, id)
				       ->slot[active];
		change->slot.flags |= SHUNT_SVC_RELEASED;
		change->slot_changes = true;
		change->old_split =
			SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, id)->split[active];
		change->new_split = change->old_split;
		change->old_policy = change->new_policy = policy_of(installer, id);
		touch(plan, id);
	}
	return 0;
}

/* ---- prepare: indices that come into use ----------------------------------------------------- */

static void write_service(struct shunt_installer *installer,
			  const struct shunt_image_service *image,
			  const struct shunt_image_port *port)
{
	struct shunt_service_name *name =
		SHUNT_DP_AT(installer->maps->service_names, struct shunt_service_name, port->id);

	memset(name, 0, sizeof(*name));
	strcpy(name->namespace_, image->namespace_);
	strcpy(name->name, image->name);
	name->port_be = htons(port->port);
	name->proto = port->proto;
	SHUNT_DP_AT(installer->maps->services, struct shunt_service, port->id)->seed = image->seed;
	SHUNT_DP_AT(installer->maps->services, struct shunt_service, port->id)->account =
		image->account;
	installer->services[port->id] = (struct shunt_service_record){
		.live = true,
		.mark = installer->mark,
		.touched = installer->services[port->id].touched,
	};
}

static int write_variant(struct plan *plan, const struct shunt_image_service *image,
			 uint32_t service, const struct shunt_image_variant *from)
{
	struct shunt_installer *installer = plan->installer;
	struct shunt_variant_name *name;
	uint32_t *added;

	if (installer->variants[from->id].live)
		return 0;
	added = shunt_array_add(&plan->new_variants, &plan->n_new_variants, sizeof(*added));
	if (!added)
		return out_of_memory(plan->err);
	*added = from->id;
	name = SHUNT_DP_AT(installer->maps->variant_names, struct shunt_variant_name, from->id);
	memset(name, 0, sizeof(*name));
	strcpy(name->namespace_, image->namespace_);
	strcpy(name->service, image->name);
	strcpy(name->variant, from->name);
	name->port_be = htons(image->ports[0].port);
	name->proto = image->ports[0].proto;
	*SHUNT_DP_AT(installer->maps->variants, struct shunt_variant, from->id) =
		(struct shunt_variant){ .service = service };
	installer->variants[from->id].live = true;
	return 0;
}

static int write_backend(struct plan *plan, const struct shunt_image_backend *from)
{
	struct shunt_installer *installer = plan->installer;
	uint32_t *added;

	if (installer->backends[from->id].live)
		return 0;
	added = shunt_array_add(&plan->new_backends, &plan->n_new_backends, sizeof(*added));
	if (!added)
		return out_of_memory(plan->err);
	*SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, from->id) =
		(struct shunt_backend){
			.addr = from->ip.addr,
			.port_be = htons(from->port),
			.proto = from->proto,
			.family = from->ip.family,
			.flags = from->flags,
			.variant = from->variant,
		};
	if (shunt_installer_count_backend(installer, from->id, 1) < 0) {
		plan->n_new_backends--;
		return out_of_memory(plan->err);
	}
	*added = from->id;
	installer->backends[from->id].live = true;
	return 0;
}

static int prepare_indices(struct plan *plan, const struct shunt_image_service *const *images,
			   size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t p = 0; p < images[i]->n_ports; p++) {
			const struct shunt_image_port *port = &images[i]->ports[p];

			for (size_t v = 0; r == 0 && v < port->n_variants; v++)
				r = write_variant(plan, images[i], port->id, &port->variants[v]);
			for (size_t b = 0; r == 0 && b < port->n_backends; b++)
				r = write_backend(plan, &port->backends[b]);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int prepare_guards(struct plan *plan, const struct shunt_image_service *const *images,
			  size_t n)
{
	int r = shunt_guards_prepare(plan->installer, images, n, &plan->guards, plan->err);

	for (size_t i = 0; r == 0 && i < plan->guards.n_changes; i++)
		if (plan->guards.changes[i].service)
			touch(plan, plan->guards.changes[i].service);
	return r;
}

/* ---- prepare: frontends ------------------------------------------------------------------- */

/* The service that is to stand at @fe: a released one keeps what nobody else wants. */
static uint32_t wanted_service(const struct shunt_installer *installer, const struct shunt_fe *fe)
{
	uint32_t now = shunt_installer_service_at(installer, fe);

	if (fe->mark == installer->mark)
		return fe->want;
	return installer->services[now].mark != installer->mark ? now : 0;
}

/* Is it to stand there for a load balancer's clients? As wanted_service(). */
static bool wants_balancer(const struct shunt_installer *installer, const struct shunt_fe *fe)
{
	if (fe->mark == installer->mark)
		return fe->want_balancer;
	return fe->written.flags & SHUNT_FE_BALANCER(installer_slot(installer)) &&
	       wanted_service(installer, fe);
}

static int prepare_frontends(struct plan *plan)
{
	struct shunt_installer *installer = plan->installer;
	uint32_t active = installer_slot(installer);
	struct shunt_fe *fe = NULL;
	bool is_balancer;
	int r;

	while ((fe = shunt_frontends_next(&installer->frontends, fe))) {
		uint32_t service = wanted_service(installer, fe);
		struct shunt_frontend value = fe->written;

		value.service[!active] = service;
		/* A marker goes only when nothing of the old state is in use any more. */
		if (fe->n_backends)
			value.flags |= SHUNT_FE_BACKEND;
		is_balancer = wants_balancer(installer, fe);
		value.flags &= ~SHUNT_FE_BALANCER(!active);
		value.flags |= is_balancer ? SHUNT_FE_BALANCER(!active) : 0;
		r = shunt_frontends_write(&installer->frontends, fe, &value);
		if (r == -ENOSPC)
			return shunt_err_set(plan->err, r,
					     "map shunt_frontends is full: raise --max-frontends");
		if (r < 0)
			return shunt_err_set(plan->err, r, "map shunt_frontends: %s", strerror(-r));
		if (service == value.service[active] &&
		    is_balancer == !!(value.flags & SHUNT_FE_BALANCER(active)))
			continue;
		plan->frontends_change = true;
		touch(plan, service ? service : value.service[active]);
	}
	return 0;
}

/* ---- failure -------------------------------------------------------------------------------- */

/* Packets read none of what this takes back. */
static void abandon(struct plan *plan)
{
	struct shunt_installer *installer = plan->installer;

	for (size_t i = 0; i < plan->n_changes; i++)
		shunt_split_abandon(installer, plan->changes[i].new_split,
				    plan->changes[i].old_split);
	for (size_t i = 0; i < plan->n_new_policies; i++)
		shunt_policy_abandon(installer, plan->new_policies[i]);
	shunt_guards_abandon(installer, &plan->guards);
	for (size_t i = 0; i < plan->n_new_backends; i++) {
		uint32_t id = plan->new_backends[i];

		shunt_installer_count_backend(installer, id, -1);
		memset(SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id), 0,
		       sizeof(struct shunt_backend));
		installer->backends[id].live = false;
	}
	for (size_t i = 0; i < plan->n_new_variants; i++) {
		uint32_t id = plan->new_variants[i];

		memset(SHUNT_DP_AT(installer->maps->variant_names, struct shunt_variant_name, id),
		       0, sizeof(struct shunt_variant_name));
		installer->variants[id].live = false;
	}
	/* What cannot be undone now is in the idle slot only, and is undone later. */
	if (shunt_installer_sync(installer) < 0)
		installer->unsettled = true;
}

/* ---- commit --------------------------------------------------------------------------------- */

/* The one store of a change of one rule. The other slot follows for the next flip. */
static void store_split(const struct shunt_installer *installer, const struct change *change)
{
	struct shunt_rule *rule =
		SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, change->service);
	uint32_t active = installer_slot(installer);

	__atomic_store_n(&rule->split[active], change->new_split, __ATOMIC_RELEASE);
	__atomic_store_n(&rule->split[!active], change->new_split, __ATOMIC_RELEASE);
}

/*
 * Packets read the epoch, then a slot, by loads that some CPUs do in another order, and BPF has
 * acquire loads since 6.15 only. A grace period is a barrier on each of them: behind it nobody
 * has old contents of the idle slots at hand. Failing, which it does for want of memory alone,
 * is no reason to stay half-way.
 */
static void order_slots_before_epoch(struct shunt_installer *installer)
{
	if (installer->env.loads_are_weak)
		(void)shunt_installer_grace(installer);
}

/* The one store of everything else: the epoch. */
static void flip(const struct plan *plan)
{
	struct shunt_installer *installer = plan->installer;
	struct shunt_settings *settings = installer_settings(installer);
	uint32_t idle = !installer_slot(installer);

	for (size_t i = 0; i < plan->n_changes; i++) {
		const struct change *change = &plan->changes[i];

		SHUNT_DP_AT(installer->maps->services, struct shunt_service, change->service)
			->slot[idle] = change->slot;
		SHUNT_DP_AT(installer->maps->services, struct shunt_service, change->service)
			->policy[idle] = (uint16_t)change->new_policy;
		SHUNT_DP_AT(installer->maps->rules, struct shunt_rule, change->service)
			->split[idle] = change->new_split;
	}
	shunt_guards_store(installer, &plan->guards);
	order_slots_before_epoch(installer);
	__atomic_store_n(&settings->epoch, settings->epoch + 1, __ATOMIC_RELEASE);
	installer->unsettled = true;
}

/* Return: was it a single store? */
static bool make_visible(const struct plan *plan)
{
	bool single = plan->n_changes == 1 && !plan->changes[0].slot_changes &&
		      !plan->frontends_change && !plan->guards.n_changes;

	if (!plan->n_changes && !plan->frontends_change && !plan->guards.n_changes)
		return false;
	if (single)
		store_split(plan->installer, &plan->changes[0]);
	else
		flip(plan);
	return single;
}

static void remember(struct plan *plan, const struct shunt_image_service *const *images, size_t n)
{
	struct shunt_installer *installer = plan->installer;

	for (size_t i = 0; i < plan->n_changes; i++) {
		shunt_split_retire(installer, plan->changes[i].old_split,
				   plan->changes[i].new_split);
		shunt_policy_use(installer, plan->changes[i].new_policy, 1);
		shunt_policy_use(installer, plan->changes[i].old_policy, -1);
		installer->services[plan->changes[i].service].digest = 0;
	}
	for (size_t i = 0; i < plan->n_new_policies; i++)
		shunt_policy_use(installer, plan->new_policies[i], -1);
	shunt_guards_remember(installer, &plan->guards);
	for (size_t i = 0; i < n; i++) {
		for (size_t p = 0; p < images[i]->n_ports; p++) {
			installer->services[images[i]->ports[p].id].digest = images[i]->digest;
			installer->services[images[i]->ports[p].id].dying = false;
		}
	}
	installer->installed = true;
}

static int prepare(struct plan *plan, const struct shunt_image_service *const *images, size_t n)
{
	int r;

	r = shunt_want_images(plan->installer, images, n, plan->err);
	if (r == 0)
		r = prepare_images(plan, images, n);
	if (r == 0)
		r = prepare_releases(plan);
	if (r == 0)
		r = prepare_indices(plan, images, n);
	if (r == 0)
		r = prepare_guards(plan, images, n);
	if (r == 0)
		r = prepare_frontends(plan);
	return r;
}

static void commit(struct plan *plan, const struct shunt_image_service *const *images, size_t n,
		   uint64_t began_ns, struct shunt_install_result *ret_result)
{
	struct shunt_installer *installer = plan->installer;
	struct shunt_settings *settings = installer_settings(installer);
	bool changed = plan->n_changes || plan->frontends_change || plan->guards.n_changes;

	for (size_t i = 0; i < n; i++)
		for (size_t p = 0; p < images[i]->n_ports; p++)
			if (!installer->services[images[i]->ports[p].id].live)
				write_service(installer, images[i], &images[i]->ports[p]);
	for (size_t i = 0; i < n; i++)
		shunt_buckets_write(installer, images[i]);
	shunt_guards_write(installer, images, n);
	changed |= shunt_want_permit(installer);
	ret_result->single_store = make_visible(plan);
	ret_result->took_ns = shunt_mono_ns() - began_ns;
	changed |= shunt_want_restrict(installer);
	changed |= shunt_dead_men_weigh(installer, images, n);
	if (changed)
		__atomic_store_n(&settings->generation, settings->generation + 1, __ATOMIC_RELAXED);
	ret_result->generation = settings->generation;
	ret_result->services_changed = plan->services_changed;
	remember(plan, images, n);
	shunt_want_trim_ids(installer);
	/* A failure is not the change's: the next call tries again before it does anything. */
	if (installer->unsettled)
		(void)shunt_installer_settle(installer);
}

int shunt_install(struct shunt_installer *installer,
		  const struct shunt_image_service *const *images, size_t n,
		  struct shunt_install_result *ret_result, struct shunt_err *err)
{
	struct plan plan = { .installer = installer, .err = err };
	struct shunt_install_result result = { 0 };
	uint64_t began_ns = shunt_mono_ns();
	int r;

	if (installer->unsettled) {
		r = shunt_installer_settle(installer);
		if (r < 0)
			return shunt_err_set(err, r, "finishing the change before: %s",
					     strerror(-r));
	}
	r = prepare(&plan, images, n);
	if (r < 0) {
		abandon(&plan);
	} else {
		commit(&plan, images, n, began_ns, &result);
		*ret_result = result;
	}
	free(plan.changes);
	free(plan.new_variants);
	free(plan.new_backends);
	free(plan.new_policies);
	shunt_guard_plan_done(&plan.guards);
	return r;
}
