// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "datapath/ejections.h"
#include "datapath/installer.h"
#include "shunt/compat.h"

/*
 * Breakers are written aside and named by variants, in two slots, as policies are by services.
 * Their instances, which have state and counts, are indices with names: they stay as they are
 * while a breaker's numbers change, and its expression.
 *
 * What an instance has counted is of the watches of its rule. A rule with other ones gets another
 * window_base, by which counts of before are old at once, those of packets in flight, too.
 *
 * By what a variant's backends are ejected stands beside, in the same two slots, by value. Who is
 * ejected, and what counts for it, is the kernel's: no install touches it.
 */

/* Above the longest window, in seconds, and a multiple of what its words stand for. */
#define WINDOW_STEP 120

static struct shunt_breaker_rule *rule_at(const struct shunt_installer *installer, uint32_t breaker)
{
	return SHUNT_DP_AT(installer->maps->breakers, struct shunt_breaker_rule, breaker);
}

static struct shunt_variant_guard *guard_at(const struct shunt_installer *installer,
					    uint32_t variant)
{
	return SHUNT_DP_AT(installer->maps->variant_guards, struct shunt_variant_guard, variant);
}

static struct shunt_backend_guard *backend_at(const struct shunt_installer *installer,
					      uint32_t backend)
{
	return SHUNT_DP_AT(installer->maps->backend_guards, struct shunt_backend_guard, backend);
}

static struct shunt_breaker_name *name_at(const struct shunt_installer *installer, uint32_t id)
{
	return SHUNT_DP_AT(installer->maps->breaker_names, struct shunt_breaker_name, id);
}

/* ---- in force ------------------------------------------------------------------------------- */

static void use_breaker(struct shunt_installer *installer, uint32_t breaker, int by)
{
	if (!breaker || breaker >= installer->maps->breakers.n)
		return;
	installer->breaker_users[breaker] += (uint32_t)by;
	if (!installer->breaker_users[breaker])
		shunt_place_retire(&installer->breakers, breaker, 1);
}

/* One variant more, or less, has this guard. */
static void use(struct shunt_installer *installer, uint32_t breaker, uint32_t instance, int by)
{
	if (!breaker)
		return;
	use_breaker(installer, breaker, by);
	if (instance && instance < installer->maps->breaker_names.n)
		installer->instances[instance].users += (uint32_t)by;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static bool counts_the_same(const struct shunt_breaker_rule *a, const struct shunt_breaker_rule *b)
{
	return a->predicate.n_watches == b->predicate.n_watches &&
	       !memcmp(a->predicate.watch, b->predicate.watch, sizeof(a->predicate.watch));
}

/* Is @rule, whose window_base does not count, in force as @breaker? */
static bool is_rule(const struct shunt_installer *installer, const struct shunt_breaker_rule *rule,
		    uint32_t breaker)
{
	struct shunt_breaker_rule wanted = *rule;

	wanted.window_base = rule_at(installer, breaker)->window_base;
	return !memcmp(&wanted, rule_at(installer, breaker), sizeof(wanted));
}

/* Waits for a grace period only if nothing is free otherwise. */
static int take(struct shunt_installer *installer, uint32_t *ret_index, struct shunt_err *err)
{
	int r = shunt_place_alloc(&installer->breakers, 1, ret_index);

	if (r == -ENOSPC && shunt_place_waits(&installer->breakers)) {
		r = shunt_installer_grace(installer);
		if (r < 0)
			return shunt_err_set(err, r, "waiting for packets in flight: %s",
					     strerror(-r));
		r = shunt_place_alloc(&installer->breakers, 1, ret_index);
	}
	if (r == -ENOSPC)
		return shunt_err_set(err, r, "map shunt_breakers is full: raise --max-breakers");
	return r < 0 ? shunt_err_set(err, r, "out of memory") : 0;
}

/*
 * The rule of @image's breaker: @old, which is in force, if it is the same, or a new one. The
 * epoch rises with each change that shows a new rule, so a base that follows it is above all that
 * were used before.
 */
static int prepare_rule(struct shunt_installer *installer, const struct shunt_image_breaker *image,
			uint32_t old, struct shunt_guard_plan *plan, uint32_t *ret_breaker,
			struct shunt_err *err)
{
	uint32_t index, *added;
	int r;

	*ret_breaker = old;
	if (old && is_rule(installer, &image->rule, old))
		return 0;
	r = take(installer, &index, err);
	if (r < 0)
		return r;
	added = shunt_array_add(&plan->new_breakers, &plan->n_new_breakers, sizeof(*added));
	if (!added) {
		shunt_place_free(&installer->breakers, index, 1);
		return shunt_err_set(err, -ENOMEM, "out of memory");
	}
	*rule_at(installer, index) = image->rule;
	rule_at(installer, index)->window_base =
		old && counts_the_same(&image->rule, rule_at(installer, old))
			? rule_at(installer, old)->window_base
			: (installer_settings(installer)->epoch + 1) * WINDOW_STEP;
	installer->breaker_users[index] = 1;
	*added = *ret_breaker = index;
	return 0;
}

/* ---- the change -------------------------------------------------------------------------------
 */

/* The instance that @variant's guard names: 0 where each backend has its own. */
static uint32_t instance_of(const struct shunt_image_breaker *breaker, uint32_t variant)
{
	for (size_t i = 0; i < breaker->n_instances; i++) {
		const struct shunt_image_instance *instance = &breaker->instances[i];

		if (instance->name.scope == SHUNT_LIMIT_SERVICE ||
		    (instance->name.scope == SHUNT_LIMIT_VARIANT &&
		     instance->name.variant_index == variant))
			return instance->id;
	}
	return 0;
}

/*
 * Nobody of @variant is out any more, and nothing counted: the rule that comes next begins anew,
 * which is an operator's way to bring one back. The number stays, by which places are known.
 */
static void forget_ejections(struct shunt_installer *installer, uint32_t variant)
{
	for (uint32_t id = 1; id < installer->maps->eject_states.n; id++) {
		struct shunt_eject_state *state =
			SHUNT_DP_AT(installer->maps->eject_states, struct shunt_eject_state, id);
		uint32_t number = SHUNT_EJECT_NUMBER(SHUNT_READ_ONCE(state->word));

		if (SHUNT_DP_AT(installer->maps->backends, struct shunt_backend, id)->variant !=
		    variant)
			continue;
		SHUNT_WRITE_ONCE(state->word, SHUNT_EJECT_WORD(0, 0, number, SHUNT_EJECT_IN));
		SHUNT_WRITE_ONCE(state->errors, 0);
		SHUNT_WRITE_ONCE(state->gateway, 0);
	}
}

static int add_change(struct shunt_installer *installer, struct shunt_guard_plan *plan,
		      const struct shunt_guard_change *wanted, struct shunt_err *err)
{
	const struct shunt_variant_guard *guard = guard_at(installer, wanted->variant);
	uint32_t slot = installer_slot(installer);
	struct shunt_guard_change *change;

	if (guard->breaker[slot] == wanted->breaker && guard->instance[slot] == wanted->instance &&
	    !memcmp(&guard->eject[slot], &wanted->eject, sizeof(wanted->eject)))
		return 0;
	change = shunt_array_add(&plan->changes, &plan->n_changes, sizeof(*change));
	if (!change)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	*change = *wanted;
	change->old_breaker = guard->breaker[slot];
	change->old_instance = guard->instance[slot];
	change->stops_ejecting = shunt_ejection_is_rule(&guard->eject[slot]) &&
				 !shunt_ejection_is_rule(&wanted->eject);
	return 0;
}

/* The breaker that variants of @port are under now; 0: none. */
static uint32_t breaker_of(const struct shunt_installer *installer,
			   const struct shunt_image_port *port)
{
	uint32_t breaker = 0;

	for (size_t v = 0; !breaker && v < port->n_variants; v++)
		breaker = guard_at(installer, port->variants[v].id)
				  ->breaker[installer_slot(installer)];
	return breaker;
}

static int prepare_image(struct shunt_installer *installer, const struct shunt_image_service *image,
			 struct shunt_guard_plan *plan, struct shunt_err *err)
{
	const struct shunt_image_breaker *breaker = image->breaker;
	const struct shunt_image_port *port = image->ports;
	uint32_t index = 0;
	int r = 0;

	if (!image->n_ports)
		return 0;
	for (size_t i = 0; breaker && i < breaker->n_instances; i++)
		installer->instances[breaker->instances[i].id].mark = installer->mark;
	if (breaker)
		r = prepare_rule(installer, breaker, breaker_of(installer, port), plan, &index,
				 err);
	for (size_t v = 0; r == 0 && v < port->n_variants; v++) {
		struct shunt_guard_change wanted = { .variant = port->variants[v].id,
						     .service = port->id,
						     .breaker = index,
						     .eject = port->variants[v].eject };

		wanted.instance = breaker ? instance_of(breaker, wanted.variant) : 0;
		r = add_change(installer, plan, &wanted, err);
	}
	return r;
}

int shunt_guards_prepare(struct shunt_installer *installer,
			 const struct shunt_image_service *const *images, size_t n,
			 struct shunt_guard_plan *plan, struct shunt_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = prepare_image(installer, images[i], plan, err);
	/* Variants that nobody wants any more have no breaker either. */
	for (uint32_t id = 1; r == 0 && id < installer->maps->variants.n; id++) {
		struct shunt_guard_change nothing = { .variant = id };

		if (installer->variants[id].mark != installer->mark)
			r = add_change(installer, plan, &nothing, err);
	}
	return r;
}

void shunt_guards_abandon(struct shunt_installer *installer, const struct shunt_guard_plan *plan)
{
	for (size_t i = 0; i < plan->n_new_breakers; i++) {
		installer->breaker_users[plan->new_breakers[i]] = 0;
		shunt_place_free(&installer->breakers, plan->new_breakers[i], 1);
	}
}

void shunt_guard_plan_done(struct shunt_guard_plan *plan)
{
	free(plan->changes);
	free(plan->new_breakers);
}

static void write_instance(struct shunt_installer *installer,
			   const struct shunt_image_instance *from)
{
	if (!installer->instances[from->id].live)
		*name_at(installer, from->id) = from->name;
	installer->instances[from->id].live = true;
	if (from->name.scope == SHUNT_LIMIT_BACKEND)
		SHUNT_WRITE_ONCE(backend_at(installer, from->name.backend_index)->instance,
				 from->id);
}

/* An instance that nobody wants is no longer its backend's. */
static void leave_backend(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_breaker_name *name = name_at(installer, id);

	if (name->scope == SHUNT_LIMIT_BACKEND &&
	    backend_at(installer, name->backend_index)->instance == id)
		SHUNT_WRITE_ONCE(backend_at(installer, name->backend_index)->instance, 0);
}

void shunt_guards_write(struct shunt_installer *installer,
			const struct shunt_image_service *const *images, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t b = 0; images[i]->breaker && b < images[i]->breaker->n_instances; b++)
			write_instance(installer, &images[i]->breaker->instances[b]);
	for (uint32_t id = 1; id < installer->maps->breaker_names.n; id++)
		if (installer->instances[id].live &&
		    installer->instances[id].mark != installer->mark)
			leave_backend(installer, id);
}

void shunt_guards_store(struct shunt_installer *installer, const struct shunt_guard_plan *plan)
{
	uint32_t idle = !installer_slot(installer);

	for (size_t i = 0; i < plan->n_changes; i++) {
		struct shunt_variant_guard *guard = guard_at(installer, plan->changes[i].variant);

		guard->breaker[idle] = plan->changes[i].breaker;
		guard->instance[idle] = plan->changes[i].instance;
		guard->eject[idle] = plan->changes[i].eject;
	}
}

void shunt_guards_remember(struct shunt_installer *installer, const struct shunt_guard_plan *plan)
{
	for (size_t i = 0; i < plan->n_changes; i++) {
		const struct shunt_guard_change *change = &plan->changes[i];

		use(installer, change->breaker, change->instance, 1);
		use(installer, change->old_breaker, change->old_instance, -1);
		if (change->stops_ejecting)
			forget_ejections(installer, change->variant);
	}
	for (size_t i = 0; i < plan->n_new_breakers; i++)
		use_breaker(installer, plan->new_breakers[i], -1);
}

/* ---- slots ------------------------------------------------------------------------------------
 */

void shunt_guards_sync(struct shunt_installer *installer)
{
	uint32_t active = installer_slot(installer);

	for (uint32_t id = 1; id < installer->maps->variant_guards.n; id++) {
		struct shunt_variant_guard *guard = guard_at(installer, id);

		guard->breaker[!active] = guard->breaker[active];
		guard->instance[!active] = guard->instance[active];
		guard->eject[!active] = guard->eject[active];
	}
}

bool shunt_guards_differ(const struct shunt_installer *installer)
{
	for (uint32_t id = 1; id < installer->maps->variant_guards.n; id++) {
		const struct shunt_variant_guard *guard = guard_at(installer, id);

		if (guard->breaker[0] != guard->breaker[1] ||
		    guard->instance[0] != guard->instance[1] ||
		    memcmp(&guard->eject[0], &guard->eject[1], sizeof(guard->eject[0])))
			return true;
	}
	return false;
}

/* ---- what goes --------------------------------------------------------------------------------
 */

void shunt_guard_forget_variant(struct shunt_installer *installer, uint32_t variant)
{
	struct shunt_variant_guard *guard = guard_at(installer, variant);
	uint32_t slot = installer_slot(installer);

	use(installer, guard->breaker[slot], guard->instance[slot], -1);
	memset(guard, 0, sizeof(*guard));
}

void shunt_guard_forget_backend(struct shunt_installer *installer, uint32_t backend)
{
	memset(backend_at(installer, backend), 0, sizeof(struct shunt_backend_guard));
	memset(SHUNT_DP_AT(installer->maps->eject_states, struct shunt_eject_state, backend), 0,
	       sizeof(struct shunt_eject_state));
}

static bool may_go(const struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_breaker_name *name = name_at(installer, id);

	if (!installer->instances[id].live || installer->instances[id].users)
		return false;
	return name->scope != SHUNT_LIMIT_BACKEND ||
	       backend_at(installer, name->backend_index)->instance != id;
}

bool shunt_instances_wait(const struct shunt_installer *installer)
{
	for (uint32_t id = 1; id < installer->maps->breaker_names.n; id++)
		if (may_go(installer, id))
			return true;
	return false;
}

void shunt_instances_retire(struct shunt_installer *installer)
{
	const struct shunt_dp_maps *maps = installer->maps;

	for (uint32_t id = 1; id < maps->breaker_names.n; id++) {
		if (!may_go(installer, id))
			continue;
		memset(SHUNT_DP_AT(maps->breaker_states, struct shunt_breaker_state, id), 0,
		       sizeof(struct shunt_breaker_state));
		memset(SHUNT_DP_AT(maps->breaker_words, struct shunt_breaker_word,
				   id * SHUNT_BREAKER_WORDS),
		       0, SHUNT_BREAKER_WORDS * sizeof(struct shunt_breaker_word));
		memset(name_at(installer, id), 0, sizeof(struct shunt_breaker_name));
		installer->instances[id] = (struct shunt_instance_record){ 0 };
		shunt_ids_reclaim(installer->ids, SHUNT_ID_BREAKER, id);
	}
}

/* ---- adoption ---------------------------------------------------------------------------------
 */

/* Names come from maps that others may have written: never trust their end. */
static int adopt_instance(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_breaker_name *name = name_at(installer, id);
	char key[SHUNT_ID_KEY_LEN];

	if (!name->service[0])
		return 0;
	if (!memchr(name->namespace_, 0, SHUNT_NAME_LEN) ||
	    !memchr(name->service, 0, SHUNT_NAME_LEN) || name->scope > SHUNT_LIMIT_BACKEND ||
	    name->variant_index >= installer->maps->variants.n ||
	    name->backend_index >= installer->maps->backend_guards.n)
		return -EINVAL;
	installer->instances[id].live = true;
	return shunt_ids_adopt(installer->ids, SHUNT_ID_BREAKER, shunt_id_breaker_key(key, name),
			       id);
}

static int adopt_guard(struct shunt_installer *installer, uint32_t variant)
{
	const struct shunt_variant_guard *guard = guard_at(installer, variant);
	uint32_t slot = installer_slot(installer);
	uint32_t breaker = guard->breaker[slot];
	int r = 0;

	if (!breaker)
		return 0;
	if (breaker >= installer->maps->breakers.n ||
	    guard->instance[slot] >= installer->maps->breaker_names.n)
		return -ERANGE;
	if (!installer->breaker_users[breaker])
		r = shunt_place_adopt(&installer->breakers, breaker, 1);
	if (r == 0)
		use(installer, breaker, guard->instance[slot], 1);
	return r;
}

int shunt_guards_adopt(struct shunt_installer *installer)
{
	int r = 0;

	for (uint32_t id = 1; r == 0 && id < installer->maps->breaker_names.n; id++)
		r = adopt_instance(installer, id);
	for (uint32_t id = 1; r == 0 && id < installer->maps->variant_guards.n; id++)
		r = adopt_guard(installer, id);
	return r;
}
