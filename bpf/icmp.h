/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_ICMP_H
#define SHUNT_BPF_ICMP_H

#include "conntrack.h"
#include "gate.h"
#include "lookup.h"
#include "reject.h"
#include "rewrite.h"
#include "route.h"
#include "scratch.h"
#include "trace.h"

/*
 * ICMP and ICMPv6 errors about packets of flows, translated by the headers that they quote, so
 * that path-MTU discovery works through the split. Whoever sends a packet knows only the
 * addresses on its own side of the translation:
 *	client <- (client -> frontend) error [gate] error (source -> backend) <- router, backend
 *	client, router -> error (frontend -> client) [gate] error (backend -> source) -> backend
 *
 * The plain form of them, for XDP before 5.18; elsewhere rare_icmp.h takes them in any form, with
 * what is here of kinds and admission.
 *
 * Asked only about what parse.h takes for neither TCP nor UDP, in functions with a frame of
 * their own: packets of flows do not pay for it. A flow is read, never changed: an error is
 * no sign of life, and may be forged by whoever guesses a tuple.
 *
 * All writes are direct. They leave the sum of the whole packet as it was, for each checksum
 * makes up for what it covers, so a sum that the device gave stays right. Linux completes the
 * checksums of ICMP by itself: they are never partial. A quoted one may be; nobody looks at it.
 */

#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_REDIRECT	   5
#define ICMPV6_PARAMPROB   4
#define ICMPV6_REDIRECT	   137

/* An ICMPv6 redirect quotes by an option, behind two addresses and maybe one other option. */
#define ICMPV6_REDIRECT_QUOTE 48 /* the quoted header, if the option comes first */
#define ICMPV6_LINK_OPTION    8	 /* bytes of a link-layer address, the other option */
#define ICMPV6_OPTION_QUOTE   4	 /* type of the option that quotes */

/* Bytes behind a quoted IP header up to and with a TCP checksum. UDP's is among the first 8. */
#define ICMP_TCP_CHECK_END (__builtin_offsetof(struct tcphdr, check) + sizeof(__u16))

enum icmp_kind { ICMP_OTHER, ICMP_ERROR, ICMP_IS_REDIRECT };

static __always_inline enum icmp_kind icmp_kind_v4(__u8 type)
{
	if (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB)
		return ICMP_ERROR;
	return type == ICMP_REDIRECT ? ICMP_IS_REDIRECT : ICMP_OTHER;
}

static __always_inline enum icmp_kind icmp_kind_v6(__u8 type)
{
	if (type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB)
		return ICMP_ERROR;
	return type == ICMPV6_REDIRECT ? ICMP_IS_REDIRECT : ICMP_OTHER;
}

/* ---- reading ------------------------------------------------------------------------------- */

/*
 * The quoted ports and protocol, turned round: packets that come the same way as the error.
 *
 * Return: SHUNT_R_FORWARDED or SHUNT_R_ICMP_QUOTE.
 */
static __always_inline enum shunt_reason icmp_quote_l4(const struct udphdr *l4, __u8 proto,
						       __u32 family, struct shunt_tuple *tuple)
{
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return SHUNT_R_ICMP_QUOTE;
	tuple->proto = proto;
	tuple->family = family;
	tuple->sport_be = l4->dest;
	tuple->dport_be = l4->source;
	return SHUNT_R_FORWARDED;
}

/* The IPv4 packet quoted at @quoted, turned round. @room: bytes of the error from there on. */
static __always_inline enum shunt_reason icmp_quote_v4(hook_ctx *ctx, const struct iphdr *quoted,
						       __u32 room, struct shunt_tuple *tuple)
{
	const struct udphdr *l4 = (const void *)(quoted + 1);

	if ((void *)(l4 + 1) > hook_end(ctx) || room < sizeof(*quoted) + sizeof(*l4))
		return SHUNT_R_TRUNCATED;
	if (quoted->version != 4 || quoted->ihl != 5 ||
	    quoted->frag_off & bpf_htons(IPV4_FRAG_MASK))
		return SHUNT_R_ICMP_QUOTE;
	tuple->src.word_be[3] = quoted->daddr;
	tuple->dst.word_be[3] = quoted->saddr;
	return icmp_quote_l4(l4, quoted->protocol, SHUNT_V4, tuple);
}

/* As icmp_quote_v4(). @quoted: opaque to clang where it may stand at several places. */
static __always_inline enum shunt_reason icmp_quote_v6(hook_ctx *ctx, const struct ipv6hdr *quoted,
						       __u32 room, struct shunt_tuple *tuple)
{
	const struct udphdr *l4 = (const void *)(quoted + 1);

	if ((void *)(l4 + 1) > hook_end(ctx) || room < sizeof(*quoted) + sizeof(*l4))
		return SHUNT_R_TRUNCATED;
	if (quoted->version != 6)
		return SHUNT_R_ICMP_QUOTE;
	__builtin_memcpy(&tuple->src, &quoted->daddr, sizeof(tuple->src));
	__builtin_memcpy(&tuple->dst, &quoted->saddr, sizeof(tuple->dst));
	return icmp_quote_l4(l4, quoted->nexthdr, SHUNT_V6, tuple);
}

/* Reads an ICMP message; @tuple and *@kind as icmp_error() wants them. */
static __always_inline enum shunt_reason icmp_read_v4(hook_ctx *ctx, struct shunt_tuple *tuple,
						      enum icmp_kind *kind)
{
	const struct iphdr *ip = hook_data(ctx) + sizeof(struct ethhdr);
	const struct icmp_error *icmp = (const void *)(ip + 1);
	const __u32 headers = sizeof(*ip) + sizeof(*icmp);
	enum shunt_reason reason;
	__u32 len;

	if ((void *)(icmp + 1) > hook_end(ctx))
		return SHUNT_R_TRUNCATED;
	*kind = icmp_kind_v4(icmp->type);
	if (*kind == ICMP_OTHER)
		return SHUNT_R_L4_PROTO;
	len = bpf_ntohs(ip->tot_len);
	if (len < headers)
		return SHUNT_R_TRUNCATED;
	reason = icmp_quote_v4(ctx, (const void *)(icmp + 1), len - headers, tuple);
	/* Errors go to the sender of what they quote, or they are not about it. */
	if (reason == SHUNT_R_FORWARDED && *kind == ICMP_ERROR &&
	    ip->daddr != tuple->dst.word_be[3])
		return SHUNT_R_ICMP_UNKNOWN;
	return reason;
}

/* What an ICMPv6 redirect with @len bytes quotes: by an option, the first or the second. */
static __always_inline enum shunt_reason icmp_redirect_quote(hook_ctx *ctx, const void *icmp,
							     __u32 len, struct shunt_tuple *tuple)
{
	const __u8 *option = icmp + ICMPV6_REDIRECT_QUOTE - 8;
	const __u32 later = ICMPV6_REDIRECT_QUOTE + ICMPV6_LINK_OPTION;
	const void *quoted;

	if ((void *)(option + 2 + ICMPV6_LINK_OPTION) > hook_end(ctx) || len < later)
		return SHUNT_R_TRUNCATED;
	if (option[0] == ICMPV6_OPTION_QUOTE) {
		quoted = icmp + ICMPV6_REDIRECT_QUOTE;
		SHUNT_OPAQUE_CASE(quoted, 1);
		return icmp_quote_v6(ctx, quoted, len - ICMPV6_REDIRECT_QUOTE, tuple);
	}
	if (option[1] != 1 || option[ICMPV6_LINK_OPTION] != ICMPV6_OPTION_QUOTE)
		return SHUNT_R_ICMP_QUOTE;
	quoted = icmp + later;
	SHUNT_OPAQUE_CASE(quoted, 2);
	return icmp_quote_v6(ctx, quoted, len - later, tuple);
}

static __always_inline int icmp_same_addr(const struct in6_addr *a, const struct shunt_addr *b)
{
	return a->s6_addr32[0] == b->word_be[0] && a->s6_addr32[1] == b->word_be[1] &&
	       a->s6_addr32[2] == b->word_be[2] && a->s6_addr32[3] == b->word_be[3];
}

static __always_inline enum shunt_reason icmp_read_v6(hook_ctx *ctx, struct shunt_tuple *tuple,
						      enum icmp_kind *kind)
{
	const struct ipv6hdr *ip = hook_data(ctx) + sizeof(struct ethhdr);
	const struct icmp_error *icmp = (const void *)(ip + 1);
	const void *quoted = icmp + 1;
	enum shunt_reason reason;
	__u32 len;

	if ((void *)(icmp + 1) > hook_end(ctx))
		return SHUNT_R_TRUNCATED;
	*kind = icmp_kind_v6(icmp->type);
	if (*kind == ICMP_OTHER)
		return SHUNT_R_L4_PROTO;
	len = bpf_ntohs(ip->payload_len);
	if (len < sizeof(*icmp))
		return SHUNT_R_TRUNCATED;
	if (*kind == ICMP_IS_REDIRECT)
		return icmp_redirect_quote(ctx, icmp, len, tuple);
	SHUNT_OPAQUE_CASE(quoted, 0);
	reason = icmp_quote_v6(ctx, quoted, len - sizeof(*icmp), tuple);
	if (reason == SHUNT_R_FORWARDED && !icmp_same_addr(&ip->daddr, &tuple->dst))
		return SHUNT_R_ICMP_UNKNOWN;
	return reason;
}

/* Is it ICMP, and are its headers linear as far as they go? @family: a constant. */
static __always_inline int icmp_is(hook_ctx *ctx, __u32 family)
{
	const __u32 ip_len = family == SHUNT_V6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *l3 = hook_data(ctx) + sizeof(struct ethhdr);
	__u8 proto;

	if (l3 + ip_len > hook_end(ctx))
		return 0;
	proto = family == SHUNT_V6 ? ((struct ipv6hdr *)l3)->nexthdr
				   : ((struct iphdr *)l3)->protocol;
	if (proto != (family == SHUNT_V6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return 0;
	/* The longest: a redirect's two options, or the whole of a quoted TCP header. */
	hook_pull(ctx, sizeof(struct ethhdr) + 2 * ip_len + sizeof(struct tcphdr) +
			       (family == SHUNT_V6 ? ICMPV6_REDIRECT_QUOTE + ICMPV6_LINK_OPTION
						   : sizeof(struct icmp_error)));
	return 1;
}

/* ---- writing ------------------------------------------------------------------------------- */

/*
 * Accounts for @diff in the checksum of a quoted TCP or UDP header, if it is quoted.
 * @len: bytes of the error from @l4 on
 *
 * Return: the diff that this makes itself.
 */
static __always_inline __u64 icmp_fix_quoted(hook_ctx *ctx, void *l4, __u32 len, int is_udp,
					     __u64 diff)
{
	__u16 *check, old, sum;

	if (is_udp) {
		check = l4 + __builtin_offsetof(struct udphdr, check);
		SHUNT_OPAQUE_CASE(check, 0);
	} else {
		check = l4 + __builtin_offsetof(struct tcphdr, check);
		SHUNT_OPAQUE_CASE(check, 1);
		if (len < ICMP_TCP_CHECK_END)
			return 0;
	}
	if ((void *)(check + 1) > hook_end(ctx))
		return 0;
	old = *check;
	if (is_udp && !old)
		return 0; /* the sender left it out */
	sum = csum_update(old, diff);
	if (is_udp && !sum)
		sum = 0xffff;
	*check = sum;
	return (__u64)(__u16)~old + sum;
}

/* @to: what a packet becomes that comes the same way; what is quoted went the other one. */
static __always_inline enum shunt_reason icmp_rewrite_v4(hook_ctx *ctx, const struct nat *to)
{
	struct iphdr *ip = hook_data(ctx) + sizeof(struct ethhdr);
	struct icmp_error *icmp = (void *)(ip + 1);
	struct iphdr *quoted = (void *)(icmp + 1);
	struct udphdr *l4 = (void *)(quoted + 1);
	__u64 diff, ports;
	__u16 check;

	if ((void *)(l4 + 1) > hook_end(ctx))
		return SHUNT_R_REWRITE;
	diff = csum_diff_word(0, ip->daddr, to->dst_lo_be);
	ip->daddr = to->dst_lo_be;
	if (ip->saddr == quoted->daddr) { /* of the other end itself, not of a router */
		diff = csum_diff_word(diff, ip->saddr, to->src_lo_be);
		ip->saddr = to->src_lo_be;
	}
	ip->check = csum_update(ip->check, diff);

	diff = csum_diff_word(csum_diff_word(0, quoted->saddr, to->dst_lo_be), quoted->daddr,
			      to->src_lo_be);
	quoted->saddr = to->dst_lo_be;
	quoted->daddr = to->src_lo_be;
	ports = rewrite_ports(l4, to->dport_be, to->sport_be);
	ports += icmp_fix_quoted(ctx, l4, bpf_ntohs(ip->tot_len) - 2 * sizeof(*ip) - sizeof(*icmp),
				 quoted->protocol == IPPROTO_UDP, diff + ports);
	check = quoted->check;
	quoted->check = csum_update(check, diff);
	icmp->checksum = csum_update(icmp->checksum, diff + ports + (__u16)~check + quoted->check);
	return SHUNT_R_FORWARDED;
}

/* Both ends of a quoted packet, and its ports. @reverse is a constant. Return: the diff. */
static __always_inline __u64 icmp_rewrite_quoted6(const struct shunt_flow *flow, int reverse,
						  struct ipv6hdr *quoted)
{
	__u64 diff;

	if (reverse) {
		diff = rewrite_addr6(&quoted->saddr, flow->client_lo_be, flow->client_hi_be, 0);
		return rewrite_addr6(&quoted->daddr, flow->frontend_lo_be, flow->frontend_hi_be,
				     diff);
	}
	diff = rewrite_addr6(&quoted->saddr, flow->backend_lo_be, flow->backend_hi_be, 0);
	return rewrite_addr6(&quoted->daddr, flow->source_lo_be, flow->source_hi_be, diff);
}

static __always_inline __u64 icmp_rewrite_outer6(const struct shunt_flow *flow, int reverse,
						 struct ipv6hdr *ip, int is_of_the_end)
{
	__u64 diff;

	if (reverse) {
		diff = rewrite_addr6(&ip->daddr, flow->client_lo_be, flow->client_hi_be, 0);
		if (is_of_the_end)
			diff = rewrite_addr6(&ip->saddr, flow->frontend_lo_be, flow->frontend_hi_be,
					     diff);
		return diff;
	}
	diff = rewrite_addr6(&ip->daddr, flow->backend_lo_be, flow->backend_hi_be, 0);
	if (is_of_the_end)
		diff = rewrite_addr6(&ip->saddr, flow->source_lo_be, flow->source_hi_be, diff);
	return diff;
}

/*
 * As icmp_rewrite_v4(), with the addresses taken from the flow: should the record be reused
 * under our eyes, the half-written error is dropped. The outer addresses are in the checksum.
 */
static __always_inline int icmp_rewrite_v6(hook_ctx *ctx, __u64 ref, int reverse)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	struct ipv6hdr *ip = hook_data(ctx) + sizeof(struct ethhdr);
	struct icmp_error *icmp = (void *)(ip + 1);
	struct ipv6hdr *quoted = (void *)(icmp + 1);
	struct udphdr *l4 = (void *)(quoted + 1);
	__u64 outer, diff;

	if (!flow || (void *)(l4 + 1) > hook_end(ctx))
		return SHUNT_R_REWRITE;
	outer = icmp_rewrite_outer6(flow, reverse, ip,
				    ip->saddr.s6_addr32[0] == quoted->daddr.s6_addr32[0] &&
					    ip->saddr.s6_addr32[1] == quoted->daddr.s6_addr32[1] &&
					    ip->saddr.s6_addr32[2] == quoted->daddr.s6_addr32[2] &&
					    ip->saddr.s6_addr32[3] == quoted->daddr.s6_addr32[3]);
	diff = icmp_rewrite_quoted6(flow, reverse, quoted);
	diff += reverse ? rewrite_ports(l4, flow->client_port_be, flow->frontend_port_be)
			: rewrite_ports(l4, flow->backend_port_be, flow->source_port_be);
	diff += icmp_fix_quoted(ctx, l4,
				bpf_ntohs(ip->payload_len) - sizeof(*icmp) - sizeof(*quoted),
				quoted->nexthdr == IPPROTO_UDP, diff);
	icmp->checksum = csum_update(icmp->checksum, outer + diff);
	return shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref)) ? SHUNT_R_FORWARDED : SHUNT_R_REWRITE;
}

__attribute__((noinline)) int icmp_rewrite_v6_in(hook_ctx *ctx, __u64 ref)
{
	return icmp_rewrite_v6(ctx, ref, 0);
}

__attribute__((noinline)) int icmp_rewrite_v6_out(hook_ctx *ctx, __u64 ref)
{
	return icmp_rewrite_v6(ctx, ref, 1);
}

/* ---- the stage ----------------------------------------------------------------------------- */

/* May the error about @flow be translated? SHUNT_R_FORWARDED, or what becomes of it. */
static __always_inline enum shunt_reason icmp_admit(hook_ctx *ctx, const struct shunt_flow *flow,
						    __u64 ref, int reverse, enum icmp_kind kind)
{
	__u32 state = SHUNT_LIFE_STATE(SHUNT_FT_LIFE(ref)), flags = flow->flags;

	if (shunt_ft_is_expired(FT, flow, state, bpf_jiffies64()))
		return SHUNT_R_ICMP_UNKNOWN;
	if (!reverse && flow->gate_ifindex != hook_ifindex(ctx)) {
		enum shunt_reason reason = gate_admit_other(ctx, flags, flow->gate_ifindex);

		TRACE_SAID(SHUNT_TRACE_GATE, reason);
		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	if (flags & SHUNT_FLOW_DIRECT && !(flags & SHUNT_FLOW_SOURCE_NAT))
		return SHUNT_R_DIRECT;
	/* It names the backend's next hop, of which the client knows nothing. */
	return kind == ICMP_IS_REDIRECT ? SHUNT_R_ICMP_REDIRECT : SHUNT_R_FORWARDED;
}

/**
 * icmp_translate - an ICMP error about a packet of a flow, and redirects
 * @family:  a constant
 * @reverse: a constant. 0: from the client's side, about what a backend sent; 1: from the
 *	     backend's side, about what a client sent
 *
 * @is_ingress: a constant. Of flows that go past the stack (route.h), errors come in at ingress
 *from either side, and leave as their packets do.
 *
 * The quoted tuple must be that of a live flow, to the letter, or the error is left alone.
 *
 * Return: SHUNT_R_ICMP_FORWARDED or SHUNT_R_ICMP_RESTORED: translated; SHUNT_R_ICMP_REDIRECT;
 * SHUNT_R_L4_PROTO: no error; SHUNT_R_ICMP_UNKNOWN, SHUNT_R_ICMP_QUOTE and others: untouched.
 */
static __always_inline int icmp_translate(hook_ctx *ctx, __u32 family, int reverse, int is_ingress)
{
	enum icmp_kind kind = ICMP_OTHER;
	struct shunt_tuple tuple = {};
	const struct shunt_flow *flow;
	enum shunt_reason reason;
	struct nat nat = {};
	__u32 routed;
	__u64 ref;

	if (!icmp_is(ctx, family))
		return SHUNT_R_L4_PROTO;
	reason = family == SHUNT_V6 ? icmp_read_v6(ctx, &tuple, &kind)
				    : icmp_read_v4(ctx, &tuple, &kind);
	if (!reverse && kind == ICMP_IS_REDIRECT)
		return SHUNT_R_L4_PROTO;
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	TRACE_QUOTED(&tuple);
	ref = reverse ? shunt_ft_find_reply(FT, &tuple, SHUNT_FT_ANSWER)
		      : conntrack_find(&tuple, conntrack_hash(&tuple));
	TRACE_FLOW(ref);
	flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	if (!flow)
		return SHUNT_R_ICMP_UNKNOWN;
	routed = is_ingress ? flow->flags & ROUTE_FLAGS : 0;
	if (is_ingress && reverse && !routed)
		return SHUNT_R_ICMP_UNKNOWN;
	reason = icmp_admit(ctx, flow, ref, reverse, kind);
	if (reason == SHUNT_R_FORWARDED && routed)
		reason = route_find(ctx, ref, reverse, 0);
	if (!nat_copy(flow, ref, reverse, &nat))
		return SHUNT_R_ICMP_UNKNOWN;
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	TRACE_REWRITE(ref, reverse);
	if (family == SHUNT_V4)
		reason = icmp_rewrite_v4(ctx, &nat);
	else
		reason = reverse ? icmp_rewrite_v6_out(ctx, ref) : icmp_rewrite_v6_in(ctx, ref);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	return (reverse ? SHUNT_R_ICMP_RESTORED : SHUNT_R_ICMP_FORWARDED) |
	       (routed ? ROUTE_SENT : 0);
}

__attribute__((noinline)) int icmp_in_v4(hook_ctx *ctx)
{
	return icmp_translate(ctx, SHUNT_V4, 0, 1);
}

__attribute__((noinline)) int icmp_in_v6(hook_ctx *ctx)
{
	return icmp_translate(ctx, SHUNT_V6, 0, 1);
}

/* Of flows that go past the stack: from the backend's side, where it comes in. */
__attribute__((noinline)) int icmp_back_v4(hook_ctx *ctx)
{
	return icmp_translate(ctx, SHUNT_V4, 1, 1);
}

__attribute__((noinline)) int icmp_back_v6(hook_ctx *ctx)
{
	return icmp_translate(ctx, SHUNT_V6, 1, 1);
}

/* An ICMP message at ingress: mostly from the client's side. */
static __always_inline int icmp_ingress(hook_ctx *ctx, __u32 family)
{
	int reason = family == SHUNT_V6 ? icmp_in_v6(ctx) : icmp_in_v4(ctx);

	if (reason != SHUNT_R_ICMP_UNKNOWN)
		return reason;
	return family == SHUNT_V6 ? icmp_back_v6(ctx) : icmp_back_v4(ctx);
}

#endif
