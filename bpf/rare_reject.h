/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RARE_REJECT_H
#define SHUNT_BPF_RARE_REJECT_H

#include "parse_any.h"
#include "reject.h"

/*
 * Refusals as reject.h makes them, of packets of any form. The answer goes back in the same
 * VLANs, without options or extension headers; what it quotes has them. One thing is missing: of
 * a packet with options or extension headers whose checksum is partial, the kernel does not let
 * the answer be made, for its checksum would stand elsewhere. It is dropped.
 */

#define RARE_L2_MAX (sizeof(struct ethhdr) + 2 * 4)

/* Quoted: an IP header, what comes behind it, and 8 bytes more; a multiple of 4. */
#define RARE_QUOTE_MAX 256

struct rare_answer {
	__u8 l2[24]; /* RARE_L2_MAX of it are used */
	union {	     /* either ends where the next header begins */
		struct ipv6hdr ip6;
		struct {
			__u8 unused[sizeof(struct ipv6hdr) - sizeof(struct iphdr)];
			struct iphdr ip4;
		};
	};
	union {
		struct tcphdr tcp;
		struct icmp_error icmp;
	};
	__u8 quote[RARE_QUOTE_MAX];
};

/* As the scratch: a CPU's own, in each object. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rare_answer);
} rare_answer SEC(".maps");

/* Makes the frame @len bytes behind its Ethernet header and tags, and turns those round. */
static __always_inline int rare_reject_frame(hook_ctx *ctx, const struct scratch *s,
					     struct rare_answer *a, __u32 len, __u32 grow)
{
	__u32 l2_len = s->at.l3_off;
	__u8 mac[ETH_ALEN];

	if (l2_len < sizeof(struct ethhdr) || l2_len > RARE_L2_MAX ||
	    hook_load(ctx, 0, a->l2, l2_len))
		return -1;
	__builtin_memcpy(mac, a->l2, ETH_ALEN);
	__builtin_memcpy(a->l2, a->l2 + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(a->l2 + ETH_ALEN, mac, ETH_ALEN);
	if (hook_resize(ctx, l2_len + s->pkt.ip_bytes, l2_len + len, grow))
		return -1;
	return hook_store(ctx, 0, a->l2, l2_len);
}

/* Writes the IP header and @len bytes behind it, a constant, where the packet's began. */
static __always_inline int rare_reject_store(hook_ctx *ctx, const struct scratch *s,
					     const struct rare_answer *a, __u32 len)
{
	const void *from;

	if (s->pkt.tuple.family == SHUNT_V6) {
		from = &a->ip6;
		SHUNT_OPAQUE_CASE(from, 6);
		return hook_store(ctx, s->at.l3_off, from, sizeof(a->ip6) + len);
	}
	from = &a->ip4;
	SHUNT_OPAQUE_CASE(from, 4);
	return hook_store(ctx, s->at.l3_off, from, sizeof(a->ip4) + len);
}

static __always_inline int rare_reject_rst(hook_ctx *ctx, const struct scratch *s,
					   struct rare_answer *a)
{
	const int is_v6 = s->pkt.tuple.family == SHUNT_V6;
	__u64 pseudo;
	__u8 doff;

	if (hook_load(ctx, s->at.l4_off + 12, &doff, sizeof(doff)))
		return -1;
	if (is_v6) {
		pseudo = reject_ipv6(&a->ip6, &s->pkt, sizeof(a->tcp), IPPROTO_TCP);
	} else {
		reject_ipv4(&a->ip4, &s->pkt, sizeof(a->ip4) + sizeof(a->tcp), IPPROTO_TCP);
		pseudo = reject_sum(&a->ip4.saddr, 8,
				    bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(a->tcp)));
	}
	reject_tcp(&a->tcp, &s->pkt, s->at.l4_bytes - (doff >> 4) * 4);
	reject_tcp_csum(&a->tcp, pseudo);
	return rare_reject_frame(ctx, s, a,
				 (is_v6 ? sizeof(a->ip6) : sizeof(a->ip4)) + sizeof(a->tcp), 0) ||
	       rare_reject_store(ctx, s, a, sizeof(a->tcp));
}

/* The ICMP header, over a quote of @len bytes; @pseudo: what its checksum covers besides. */
static __always_inline void rare_reject_icmp(struct rare_answer *a, int is_v6, __u32 len,
					     __u32 pseudo)
{
	__builtin_memset(&a->icmp, 0, sizeof(a->icmp));
	a->icmp.type = is_v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
	a->icmp.code = is_v6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH;
	/* What completing would write there. */
	a->icmp.partial = is_v6 ? csum_fold16(pseudo) : 0;
	a->icmp.checksum = ~csum_fold16(
		reject_sum(a->quote, len, reject_sum(&a->icmp, sizeof(a->icmp), pseudo)));
}

static __always_inline int rare_reject_unreachable(hook_ctx *ctx, const struct scratch *s,
						   struct rare_answer *a)
{
	const int is_v6 = s->pkt.tuple.family == SHUNT_V6;
	__u32 len = (s->at.l4_off - s->at.l3_off + REJECT_QUOTED) & ~3u;
	__u32 head = (is_v6 ? sizeof(a->ip6) : sizeof(a->ip4)) + sizeof(a->icmp);
	__u32 pseudo = 0, made;

	/* Two comparisons of len itself: 6.12's verifier learns nothing from others. */
	asm volatile("" : "+r"(len));
	if (len < sizeof(a->ip4))
		return -1;
	asm volatile("" : "+r"(len));
	if (len > RARE_QUOTE_MAX || hook_load(ctx, s->at.l3_off, a->quote, len))
		return -1;
	if (is_v6)
		pseudo = csum_fold32(
			reject_ipv6(&a->ip6, &s->pkt, sizeof(a->icmp) + len, IPPROTO_ICMPV6));
	else
		reject_ipv4(&a->ip4, &s->pkt, head + len, IPPROTO_ICMP);
	rare_reject_icmp(a, is_v6, len, pseudo);
	if (is_v6)
		made = rare_reject_frame(ctx, s, a, head + len, sizeof(a->ip6) + sizeof(a->icmp));
	else
		made = rare_reject_frame(ctx, s, a, head + len, sizeof(a->ip4) + sizeof(a->icmp));
	return made || rare_reject_store(ctx, s, a, sizeof(a->icmp)) ||
	       hook_store(ctx, s->at.l3_off + head, a->quote, len);
}

/**
 * rare_reject - answer a packet of any form with RST or ICMP unreachable
 *
 * Return: as reject_packet().
 */
__attribute__((noinline)) int rare_reject(hook_ctx *ctx)
{
	const struct scratch *s = scratch_get();
	struct rare_answer *a;
	struct ethhdr eth;
	__u32 zero = 0;
	int is_udp;

	a = bpf_map_lookup_elem(&rare_answer, &zero);
	if (!s || !a || rare_parse(ctx) != SHUNT_R_FORWARDED || s->at.part == PLACE_LATER ||
	    hook_load(ctx, 0, &eth, sizeof(eth)))
		return -1;
	if (!gate_is_for_us(ctx, gate_find(hook_ifindex(ctx))))
		return REJECT_NOT_OURS;
	if (!reject_may_answer(&s->pkt, &eth, s->pkt.tuple.family))
		return -1;
	is_udp = s->pkt.tuple.proto == IPPROTO_UDP;
	if (!is_udp && s->pkt.tcp.flags & SHUNT_TCP_RST)
		return -1;
	if (!reject_admit(is_udp ? SHUNT_ANSWER_ICMP : SHUNT_ANSWER_RST))
		return REJECT_LIMITED;
	return is_udp ? rare_reject_unreachable(ctx, s, a) : rare_reject_rst(ctx, s, a);
}

#endif
