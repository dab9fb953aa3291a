/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_NEXTHOP_H
#define SHUNT_BPF_NEXTHOP_H

#include "fib.h"
#include "maps.h"
#include "scratch.h"

/*
 * Next hops, kept so that not every packet asks the kernel (bpf_fib_lookup() takes some 150 ns). An
 * answer counts until the agent tells of a change (shunt_settings.route_generation), and a second
 * at most, so that nobody who dies leaves a wrong one for longer.
 *
 * Keyed by destination and incoming interface alone: where the host has rules that look at more,
 * the agent leaves the generation at 0, and nothing is kept. Of several equal routes all
 * connections to a destination take the same for that second.
 */

#define NEXTHOP_BITS 9

/* In scratch.out_flags beside enum shunt_gate_flags: the way leads out of a gate, or its bridge. */
#define NEXTHOP_IS_GATE (1u << 31)

struct next_hop {
	struct shunt_addr dst;
	__u32 from_ifindex;
	__u32 family;
	__u32 generation; /* never 0, unless it is free */
	__u32 asked_jiffies;
	__u32 out_flags; /* as scratch.out_flags */
	__u32 reserved;
	struct bpf_fib_lookup fib;
};

/* Not pinned and no part of the ABI. Each CPU has its own, so that nobody reads half of one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << NEXTHOP_BITS);
	__type(key, __u32);
	__type(value, struct next_hop);
} next_hops SEC(".maps");

static __always_inline __u32 nexthop_slot(__u32 from_ifindex, const __be32 *dst)
{
	__u32 key = dst[0] ^ dst[1] * 3 ^ dst[2] * 5 ^ dst[3] * 7 ^ from_ifindex;

	return key * 0x9e3779b1u >> (32 - NEXTHOP_BITS);
}

/* What nexthop_find() has found, where it is kept, or the kernel's answer. Never NULL. */
static __always_inline const struct bpf_fib_lookup *nexthop_found(const struct scratch *s)
{
	__u32 key = s->hop - 1;
	const struct next_hop *hop = s->hop ? bpf_map_lookup_elem(&next_hops, &key) : NULL;

	return hop ? &hop->fib : &s->fib;
}

static __always_inline int nexthop_is(const struct next_hop *hop,
				      const struct shunt_settings *settings, __u32 from_ifindex,
				      __u32 family, const __be32 *dst)
{
	__u32 age = (__u32)bpf_jiffies64() - hop->asked_jiffies;

	/* One that is free has been asked for by no interface. */
	return hop->generation == SHUNT_READ_ONCE(settings->route_generation) &&
	       age < lookup_second(settings) && hop->from_ifindex == from_ifindex &&
	       hop->family == family && hop->dst.word_be[3] == dst[3] &&
	       hop->dst.word_be[2] == dst[2] && hop->dst.word_be[1] == dst[1] &&
	       hop->dst.word_be[0] == dst[0];
}

static __always_inline __u32 nexthop_out_flags(__u32 ifindex)
{
	const struct shunt_gate *gate = bpf_map_lookup_elem(&shunt_gates, &ifindex);

	return gate ? gate->flags | NEXTHOP_IS_GATE : 0;
}

static __always_inline void nexthop_keep(struct next_hop *hop, const struct scratch *s,
					 __u32 generation, __u32 from_ifindex, __u32 family,
					 const __be32 *dst)
{
	hop->dst.word_be[0] = dst[0];
	hop->dst.word_be[1] = dst[1];
	hop->dst.word_be[2] = dst[2];
	hop->dst.word_be[3] = dst[3];
	hop->from_ifindex = from_ifindex;
	hop->family = family;
	hop->generation = generation;
	hop->asked_jiffies = bpf_jiffies64();
	hop->out_flags = s->out_flags;
	hop->fib = s->fib;
}

/**
 * nexthop_find - the way on of packets to @dst, from the kernel or from what it said before
 * @from_ifindex: where they come in
 * @src, @dst:	  addresses as in struct shunt_addr
 * @ip_bytes:	  the packet's length, 0 if it does not matter
 *
 * The answer is nexthop_found() and scratch.out_flags; if the packet is too long, the way's MTU is
 * in scratch.fib.
 *
 * Return: as bpf_fib_lookup().
 */
static __always_inline long nexthop_find(hook_ctx *ctx, struct scratch *s, __u32 from_ifindex,
					 __u32 family, const __be32 *src, const __be32 *dst,
					 __u32 ip_bytes)
{
	__u32 generation, key = nexthop_slot(from_ifindex, dst);
	struct next_hop *hop = bpf_map_lookup_elem(&next_hops, &key);
	const struct shunt_settings *settings = lookup_settings();
	long found;

	if (!settings || !hop)
		return BPF_FIB_LKUP_RET_NOT_FWDED;
	if (nexthop_is(hop, settings, from_ifindex, family, dst)) {
		s->hop = key + 1; /* not copied: 64 bytes are some 4 ns */
		s->out_flags = hop->out_flags;
		/* 0: 64 KiB and more. */
		if (!hop->fib.mtu_result || ip_bytes <= hop->fib.mtu_result)
			return BPF_FIB_LKUP_RET_SUCCESS;
		s->fib.mtu_result = hop->fib.mtu_result;
		return BPF_FIB_LKUP_RET_FRAG_NEEDED;
	}
	s->hop = 0;
	/* Before the question: what changes while it is asked must be noticed. */
	generation = SHUNT_READ_ONCE(settings->route_generation);
	found = fib_ask(ctx, &s->fib, from_ifindex, family, src, dst, ip_bytes ? ip_bytes : 1);
	s->out_flags = nexthop_out_flags(s->fib.ifindex);
	if (generation && found == BPF_FIB_LKUP_RET_SUCCESS)
		nexthop_keep(hop, s, generation, from_ifindex, family, dst);
	return found;
}

#endif
