/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_LOOKUP_H
#define SHUNT_BPF_LOOKUP_H

#include "maps.h"
#include "shunt/choose.h"

/* What stands at a packet's destination, in one epoch. */
struct target {
	__u32 slot;	   /* epoch & 1 */
	__u32 service;	   /* 0: not a frontend */
	__u32 is_backend;  /* a known backend stands there too */
	__u32 is_balancer; /* loadBalancerSourceRanges hold there */
};

/* A target as one word, for a function's argument: bits 8, 9, 11 and 32.. of it. */
static __always_inline __u64 target_pack(const struct target *target)
{
	return (__u64)target->service << 32 | target->is_balancer << 11 | target->is_backend << 9 |
	       target->slot << 8;
}

static __always_inline void target_unpack(__u64 word, struct target *target)
{
	target->service = word >> 32;
	target->is_balancer = word >> 11 & 1;
	target->is_backend = word >> 9 & 1;
	target->slot = word >> 8 & 1;
}

static __always_inline const struct shunt_settings *lookup_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shunt_settings, &zero);
}

/* The secret of the hashes that clients must not foresee. */
static __always_inline __u64 lookup_key(void)
{
	const struct shunt_settings *settings = lookup_settings();

	return settings ? settings->table_key : 0;
}

/**
 * lookup_target - which service or backend is a packet addressed to?
 *
 * The epoch is read once per packet, here.
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_NO_SERVICE; SHUNT_R_HELD: the element was replaced under
 * our eyes, the sender's next packet finds the right one.
 */
static __always_inline enum shunt_reason lookup_target(const struct shunt_settings *settings,
						       const struct shunt_tuple *tuple,
						       struct target *target)
{
	struct shunt_frontend_key key = {
		.addr = tuple->dst,
		.port_be = tuple->dport_be,
		.proto = tuple->proto,
	};
	const struct shunt_frontend *frontend;
	__u32 flags;

	/* First: the agent replaces elements before it switches, so newer is always complete. */
	target->slot = SHUNT_READ_ONCE(settings->epoch) & 1;
	frontend = bpf_map_lookup_elem(&shunt_frontends, &key);
	if (!frontend)
		return SHUNT_R_NO_SERVICE;

	target->service = SHUNT_PICK(target->slot, frontend->service[0], frontend->service[1]);
	flags = SHUNT_READ_ONCE(frontend->flags);
	target->is_backend = flags & SHUNT_FE_BACKEND;
	target->is_balancer = flags >> (1 + target->slot) & 1;
	/* Last: another address's element would also have its check. */
	if (SHUNT_READ_ONCE(frontend->check) != shunt_frontend_check(&key))
		return SHUNT_R_HELD;
	if (!target->service && !target->is_backend)
		return SHUNT_R_NO_SERVICE;
	return SHUNT_R_FORWARDED;
}

/* Slot @slot of a service, NULL if it is NULL. */
static __always_inline const struct shunt_service_slot *
lookup_slot(const struct shunt_service *service, __u32 slot)
{
	const struct shunt_service_slot *s;

	if (!service)
		return NULL;
	if (slot) {
		s = &service->slot[1];
		SHUNT_OPAQUE_CASE(s, 1);
	} else {
		s = &service->slot[0];
		SHUNT_OPAQUE_CASE(s, 0);
	}
	return s;
}

/* The slot of service @service, NULL when the map lacks it. */
static __always_inline const struct shunt_service_slot *lookup_service_slot(__u32 service,
									    __u32 slot)
{
	return lookup_slot(bpf_map_lookup_elem(&shunt_services, &service), slot);
}

/* A second in jiffies: the times in the flows are one grain stale, a quarter of it. */
static __always_inline __u32 lookup_second(const struct shunt_settings *settings)
{
	return 4 * settings->seen_grain_jiffies;
}

/**
 * lookup_service - the service's slot of this epoch, its seed and its policy (0: none)
 *
 * Return: the slot, or NULL when the map lacks it.
 */
static __always_inline const struct shunt_service_slot *lookup_service(const struct target *target,
								       __u64 *seed, __u32 *policy)
{
	const struct shunt_service *service =
		bpf_map_lookup_elem(&shunt_services, &target->service);

	if (!service)
		return NULL;
	*seed = service->seed;
	*policy = SHUNT_PICK(target->slot, service->policy[0], service->policy[1]);
	return lookup_slot(service, target->slot);
}

/* The policy of a service in the epoch of @slot; 0: none. */
static __always_inline __u32 lookup_policy(__u32 service, __u32 slot)
{
	const struct shunt_service *s = bpf_map_lookup_elem(&shunt_services, &service);

	return s ? SHUNT_PICK(slot, s->policy[0], s->policy[1]) : 0;
}

/**
 * lookup_split - rule list -> split
 *
 * Now each list holds one rule that matches everything. The split's index is read once: one
 * aligned word that the agent switches by one store.
 *
 * Return: the split's index, or 0 when the map lacks the rule.
 */
static __always_inline __u32 lookup_split(const struct target *target, __u32 rule_index)
{
	const struct shunt_rule *rule = bpf_map_lookup_elem(&shunt_rules, &rule_index);

	if (!rule)
		return 0;
	return SHUNT_PICK(target->slot, rule->split[0], rule->split[1]);
}

#endif
