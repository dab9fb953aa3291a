// SPDX-License-Identifier: Apache-2.0
#include "datapath/explain.h"

#include <bpf/bpf.h>
#include <string.h>

#include "base/mono.h"
#include "datapath/ejections.h"
#include "shunt/compat.h"

static const struct shunt_settings *settings_of(const struct shunt_dp_maps *maps)
{
	return SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
}

static uint32_t prefix_len(const struct shunt_choice *choice, const struct shunt_tuple *tuple)
{
	return choice->slot.prefix_len[tuple->family];
}

/* ---- policy -------------------------------------------------------------------------------- */

/* Looks for the longest prefix that the client lies in. Return: whether there is one. */
static bool find_source(const struct shunt_dp_maps *maps, uint32_t policy,
			const struct shunt_tuple *tuple, struct shunt_source *ret_source)
{
	struct shunt_source_key_v4 v4 = { 32 + 32, policy, tuple->src.word_be[3] };
	struct shunt_source_key_v6 v6 = { .prefix_len = 32 + 128, .policy = policy };

	memcpy(v6.word_be, tuple->src.word_be, sizeof(v6.word_be));
	return bpf_map_lookup_elem(maps->sources_fd[tuple->family],
				   tuple->family == SHUNT_V6 ? (void *)&v6 : (void *)&v4,
				   ret_source) == 0;
}

/* Has the client's family a range of loadBalancerSourceRanges? */
static uint32_t balancer_flag(const struct shunt_tuple *tuple)
{
	return tuple->family == SHUNT_V6 ? SHUNT_POLICY_BALANCER_6 : SHUNT_POLICY_BALANCER_4;
}

/* May the client connect, as far as address lists say? As limit_before() of bpf/limit.h. */
static enum shunt_reason judge_source(const struct shunt_dp_maps *maps,
				      const struct shunt_tuple *tuple, struct shunt_choice *choice)
{
	const struct shunt_policy_record *policy;
	struct shunt_source source = { 0 };
	bool may;

	if (!choice->policy || choice->policy >= maps->policies.n)
		return SHUNT_R_FORWARDED;
	policy = SHUNT_DP_AT(maps->policies, struct shunt_policy_record, choice->policy);
	if (choice->is_balancer && policy->flags & balancer_flag(tuple) &&
	    !find_source(maps, choice->policy | SHUNT_SOURCES_OF_BALANCER, tuple, &source))
		return SHUNT_R_SOURCE_DENIED_DROP;
	if (!(policy->flags & SHUNT_POLICY_SOURCES))
		return SHUNT_R_FORWARDED;
	choice->is_listed = find_source(maps, choice->policy, tuple, &source);
	may = choice->is_listed ? !source.is_denied : !(policy->flags & SHUNT_POLICY_ALLOW_ONLY);
	return may ? SHUNT_R_FORWARDED : SHUNT_R_SOURCE_DENIED;
}

/* ---- affinity ------------------------------------------------------------------------------ */

/* The conditions of bpf/affinity.h. */
static bool session_holds(const struct shunt_dp_maps *maps, const struct shunt_choice *choice,
			  uint32_t family, uint32_t now)
{
	const struct shunt_session *session = &choice->session;
	const struct shunt_backend *backend;
	const struct shunt_variant *variant;

	if (now - session->seen_jiffies >= choice->slot.session_jiffies)
		return false;
	if (session->backend >= maps->backends.n || session->variant >= maps->variants.n ||
	    session->variant >= maps->overlay.n)
		return false;
	backend = SHUNT_DP_AT(maps->backends, struct shunt_backend, session->backend);
	if (backend->flags || backend->variant != session->variant || backend->family != family)
		return false;
	if (SHUNT_DP_AT(maps->overlay, struct shunt_overlay, session->variant)->tripped)
		return false;
	variant = SHUNT_DP_AT(maps->variants, struct shunt_variant, session->variant);
	return !(variant->flags & SHUNT_VAR_DRAINED &&
		 (int32_t)(now - variant->drain_jiffies) >= 0);
}

/* Return: does the client keep what it has? */
static bool look_for_session(const struct shunt_dp_maps *maps, const struct shunt_tuple *tuple,
			     uint32_t now, struct shunt_choice *choice)
{
	struct shunt_session_key key = { .service = choice->service };

	if (choice->slot.affinity != SHUNT_AFFINITY_SESSION)
		return false;
	shunt_masked_addr(&tuple->src, tuple->family, prefix_len(choice, tuple), &key.client);
	choice->has_session = bpf_map_lookup_elem(maps->sessions_fd, &key, &choice->session) == 0;
	if (!choice->has_session)
		return false;
	choice->session_holds = session_holds(maps, choice, tuple->family, now);
	if (!choice->session_holds)
		return false;
	choice->variant = choice->session.variant;
	choice->backend = choice->session.backend;
	return true;
}

/* ---- stages 1 and 2 -------------------------------------------------------------------------- */

static enum shunt_reason choose_variant(const struct shunt_dp_maps *maps,
					struct shunt_choice *choice)
{
	const struct shunt_split *record = &choice->record;

	for (uint32_t v = 0; v < record->n_variants && v < SHUNT_MAX_VARIANTS; v++) {
		uint32_t variant = record->variant[v].variant;

		if (variant < maps->overlay.n &&
		    SHUNT_DP_AT(maps->overlay, struct shunt_overlay, variant)->tripped)
			choice->tripped |= 1u << v;
	}
	choice->variant_index = shunt_pick_variant(record, choice->tripped, choice->hash);
	if (choice->variant_index < 0)
		return SHUNT_R_NO_WEIGHT;
	choice->variant = record->variant[choice->variant_index].variant;
	return SHUNT_R_FORWARDED;
}

static enum shunt_reason choose_backend(const struct shunt_dp_maps *maps, uint32_t family,
					struct shunt_choice *choice)
{
	const struct shunt_split_variant *variant = &choice->record.variant[choice->variant_index];
	uint64_t position, member;

	choice->ring_size = variant->ring_size[family];
	if (!choice->ring_size)
		return SHUNT_R_NO_BACKEND;
	choice->ring_slot = shunt_ring_slot(choice->hash, choice->ring_size);
	position = (uint64_t)variant->ring_first[family] + choice->ring_slot;
	if (position >= 4ull * maps->rings.n)
		return SHUNT_R_BAD_CONFIG;
	choice->member = ((const uint16_t *)maps->rings.base)[position];
	member = (uint64_t)variant->member_first[family] + choice->member;
	if (member >= maps->members.n)
		return SHUNT_R_BAD_CONFIG;
	choice->backend = SHUNT_DP_AT(maps->members, struct shunt_member, member)->backend;
	return choice->backend ? SHUNT_R_FORWARDED : SHUNT_R_BAD_CONFIG;
}

/* ---- ejection: as newflow_avoid() of bpf/newsplit.h ---------------------------------------------
 */

#define AVOID_TRIES 8			     /* RESELECT_TRIES */
#define AVOID_WALK  (SHUNT_EJECT_PLACES + 2) /* as eject_walk() of bpf/eject.h */

static const struct shunt_split_variant *variant_in(const struct shunt_choice *choice)
{
	for (uint32_t v = 0; v < choice->record.n_variants && v < SHUNT_MAX_VARIANTS; v++)
		if (choice->record.variant[v].variant == choice->variant)
			return &choice->record.variant[v];
	return NULL;
}

static uint32_t member_at(const struct shunt_dp_maps *maps, uint64_t member)
{
	return member < maps->members.n
		       ? SHUNT_DP_AT(maps->members, struct shunt_member, member)->backend
		       : 0;
}

/* May a connection go to @backend instead of to the one that is ejected? */
static bool may_take(const struct shunt_dp_maps *maps, const struct shunt_choice *choice,
		     uint32_t backend)
{
	const struct shunt_backend *b;

	if (!backend || backend >= maps->backends.n || backend == choice->backend ||
	    shunt_ejection_read(maps, backend, shunt_mono_ns()).is_out)
		return false;
	b = SHUNT_DP_AT(maps->backends, struct shunt_backend, backend);
	return !b->flags && b->variant == choice->variant;
}

static uint32_t another(const struct shunt_dp_maps *maps, uint32_t family,
			const struct shunt_choice *choice, uint64_t hash)
{
	const struct shunt_split_variant *variant = variant_in(choice);
	uint32_t members = shunt_ejection_members(maps, choice->variant, family), found;
	uint64_t at;

	if (!variant || !variant->ring_size[family])
		return 0;
	for (uint32_t i = 1; i <= AVOID_TRIES; i++) {
		at = (uint64_t)variant->ring_first[family] +
		     shunt_ring_slot(shunt_mix64(hash + i), variant->ring_size[family]);
		if (at >= 4ull * maps->rings.n)
			return 0;
		found = member_at(maps, (uint64_t)variant->member_first[family] +
						((const uint16_t *)maps->rings.base)[at]);
		if (may_take(maps, choice, found))
			return found;
	}
	at = ((shunt_mix64(hash) >> 32) * members) >> 32;
	for (uint32_t i = 0; i < AVOID_WALK && i < members; i++) {
		found = member_at(maps, (uint64_t)variant->member_first[family] + at);
		if (may_take(maps, choice, found))
			return found;
		at = at + 1 < members ? at + 1 : 0;
	}
	return 0;
}

/* One that is tried just now takes some; whether this one is not known, so it does. */
static void avoid(const struct shunt_dp_maps *maps, const struct shunt_tuple *tuple,
		  struct shunt_choice *choice)
{
	const struct shunt_service *service =
		SHUNT_DP_AT(maps->services, struct shunt_service, choice->service);
	struct shunt_ejected ejected = shunt_ejection_read(maps, choice->backend, shunt_mono_ns());
	uint32_t other;

	if (!(choice->slot.flags & SHUNT_SVC_EJECT) || !ejected.is_out || !ejected.left_ns)
		return;
	other = another(maps, tuple->family, choice,
			shunt_choice_hash(settings_of(maps)->choice_key, service->seed, tuple,
					  choice->slot.affinity, prefix_len(choice, tuple)));
	if (!other)
		return;
	choice->ejected = choice->backend;
	choice->backend = other;
}

/* ---- the walk -----------------------------------------------------------------------------------
 */

static enum shunt_reason read_split(const struct shunt_dp_maps *maps, uint32_t slot,
				    struct shunt_choice *choice)
{
	const struct shunt_rule *rule;

	choice->rule = choice->slot.rule_first;
	if (choice->rule >= maps->rules.n)
		return SHUNT_R_BAD_CONFIG;
	rule = SHUNT_DP_AT(maps->rules, struct shunt_rule, choice->rule);
	choice->split = SHUNT_READ_ONCE(rule->split[slot]);
	if (!choice->split || choice->split >= maps->splits.n)
		return SHUNT_R_BAD_CONFIG;
	choice->record = *SHUNT_DP_AT(maps->splits, struct shunt_split, choice->split);
	return SHUNT_R_FORWARDED;
}

static enum shunt_reason walk(const struct shunt_dp_maps *maps, const struct shunt_tuple *tuple,
			      uint32_t now, struct shunt_choice *choice)
{
	const struct shunt_settings *settings = settings_of(maps);
	const struct shunt_service *service;
	uint32_t slot = choice->epoch & 1;
	enum shunt_reason reason;

	if (choice->service >= maps->services.n)
		return SHUNT_R_BAD_CONFIG;
	service = SHUNT_DP_AT(maps->services, struct shunt_service, choice->service);
	choice->slot = service->slot[slot];
	if (settings->flags & SHUNT_S_HOLD)
		return SHUNT_R_HELD;
	if (choice->slot.flags & SHUNT_SVC_RELEASED)
		return SHUNT_R_RELEASED;
	if (settings->flags & SHUNT_S_DRAIN)
		return SHUNT_R_DRAINING;
	choice->policy = service->policy[slot];
	reason = judge_source(maps, tuple, choice);
	if (reason == SHUNT_R_FORWARDED)
		reason = read_split(maps, slot, choice);
	if (reason != SHUNT_R_FORWARDED || look_for_session(maps, tuple, now, choice))
		return reason;
	choice->hash = shunt_choice_hash(settings->choice_key, service->seed, tuple,
					 choice->slot.affinity, prefix_len(choice, tuple));
	reason = choose_variant(maps, choice);
	if (reason == SHUNT_R_FORWARDED)
		reason = choose_backend(maps, tuple->family, choice);
	return reason;
}

static void decide(const struct shunt_dp_maps *maps, const struct shunt_tuple *tuple, uint32_t now,
		   struct shunt_choice *choice)
{
	choice->reason = walk(maps, tuple, now, choice);
	if (choice->reason != SHUNT_R_FORWARDED)
		return;
	if (choice->backend >= maps->backends.n) {
		choice->reason = SHUNT_R_BAD_CONFIG;
		return;
	}
	avoid(maps, tuple, choice);
	choice->to = *SHUNT_DP_AT(maps->backends, struct shunt_backend, choice->backend);
	if (choice->to.family != tuple->family)
		choice->reason = SHUNT_R_BAD_CONFIG;
}

static void begin(const struct shunt_dp_maps *maps, struct shunt_choice *choice)
{
	memset(choice, 0, sizeof(*choice));
	choice->variant_index = -1;
	choice->epoch = SHUNT_READ_ONCE(settings_of(maps)->epoch);
	choice->generation = SHUNT_READ_ONCE(settings_of(maps)->generation);
}

void shunt_choose_for_service(const struct shunt_dp_maps *maps, uint32_t service,
			      const struct shunt_tuple *tuple, uint32_t now,
			      struct shunt_choice *ret_choice)
{
	begin(maps, ret_choice);
	ret_choice->service = service;
	decide(maps, tuple, now, ret_choice);
}

void shunt_choose(const struct shunt_dp_maps *maps, const struct shunt_tuple *tuple, uint32_t now,
		  struct shunt_choice *ret_choice)
{
	struct shunt_frontend_key key = {
		.addr = tuple->dst,
		.port_be = tuple->dport_be,
		.proto = tuple->proto,
	};
	struct shunt_frontend frontend = { 0 };

	begin(maps, ret_choice);
	bpf_map_lookup_elem(maps->frontends_fd, &key, &frontend);
	ret_choice->service = frontend.service[ret_choice->epoch & 1];
	ret_choice->is_backend = frontend.flags & SHUNT_FE_BACKEND;
	ret_choice->is_balancer = frontend.flags & SHUNT_FE_BALANCER(ret_choice->epoch & 1);
	if (ret_choice->service)
		decide(maps, tuple, now, ret_choice);
	else
		ret_choice->reason = ret_choice->is_backend ? SHUNT_R_DIRECT : SHUNT_R_NO_SERVICE;
}
