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

#define RARE_L2_MAX  (sizeof(struct ethhdr) + 2 * 4)
#define RARE_L2_ROOM 32 /* a power of two */

/* Quoted: an IP header, what comes behind it, and 8 bytes more; a multiple of 4. */
#define RARE_QUOTE_MAX 256

struct rare_answer {
	__u8 l2[RARE_L2_ROOM]; /* RARE_L2_MAX of it are used */
	union {		       /* either ends where the next header begins */
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

/*
 * The same number, known to be 1 to @max, a power of two: kernel 6.1 forgets what was proven of
 * one that clang has spilled meanwhile.
 */
static __always_inline __u32 rare_reject_size(__u32 n, __u32 max)
{
	asm volatile("" : "+r"(n));
	return ((n - 1) & (max - 1)) + 1;
}

/* Reads the Ethernet header and the tags, and turns them round. */
static __always_inline int rare_reject_l2(hook_ctx *ctx, const struct scratch *s,
					  struct rare_answer *a)
{
	__u32 l2_len = s->at.l3_off;
	__u8 mac[ETH_ALEN];

	if (l2_len < sizeof(struct ethhdr) || l2_len > RARE_L2_MAX ||
	    hook_load(ctx, 0, a->l2, rare_reject_size(l2_len, RARE_L2_ROOM)))
		return -1;
	__builtin_memcpy(mac, a->l2, ETH_ALEN);
	__builtin_memcpy(a->l2, a->l2 + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(a->l2 + ETH_ALEN, mac, ETH_ALEN);
	return 0;
}

/* Makes the frame @len bytes behind its Ethernet header and tags, and writes those. */
static __always_inline int rare_reject_frame(hook_ctx *ctx, const struct scratch *s,
					     const struct rare_answer *a, __u32 len, __u32 grow)
{
	__u32 l2_len = s->at.l3_off;

	if (l2_len < sizeof(struct ethhdr) || l2_len > RARE_L2_MAX ||
	    hook_resize(ctx, l2_len + s->pkt.ip_bytes, l2_len + len, grow))
		return -1;
	return hook_store(ctx, 0, a->l2, rare_reject_size(l2_len, RARE_L2_ROOM));
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
	return rare_reject_l2(ctx, s, a) ||
	       rare_reject_frame(ctx, s, a,
				 (is_v6 ? sizeof(a->ip6) : sizeof(a->ip4)) + sizeof(a->tcp), 0) ||
	       rare_reject_store(ctx, s, a, sizeof(a->tcp));
}

/*
 * The ICMP header, over a quote of @len bytes; @pseudo: what its checksum covers besides. What
 * completing would write into a refusal stands there at once; other errors have no room for that.
 */
static __always_inline void rare_reject_head(struct rare_answer *a, int is_v6, __u32 len,
					     __u32 pseudo, enum reject_why why)
{
	reject_icmp(&a->icmp, is_v6, why);
	if (is_v6 && reject_is_refusal(why))
		a->icmp.partial = csum_fold16(pseudo);
	a->icmp.checksum = ~csum_fold16(
		reject_sum(a->quote, len, reject_sum(&a->icmp, sizeof(a->icmp), pseudo)));
}

/*
 * Where the packet's checksum was partial, something is written once the answer is complete, which
 * it may be when it leaves, or never: into the checksum field of the TCP or UDP header, the
 * complement of the sum of all from that header on. So the frame is shifted, until that field is
 * one of the quote that its receiver ignores, the two bytes behind the first 8 of the transport's,
 * and they are given the value that stays what it is. They and two more are added to the quote.
 *
 * Return: 0, or negative.
 */
static __always_inline int rare_reject_shift(hook_ctx *ctx, const struct scratch *s,
					     struct rare_answer *a, int is_v6)
{
	const __u32 *src = s->pkt.tuple.src.word_be, *dst = s->pkt.tuple.dst.word_be;
	const int is_udp = s->pkt.tuple.proto == IPPROTO_UDP;
	__u32 ip_len = is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u16 l4[6];
	__u64 sum;
	void *to;

	if (s->at.l4_off != s->at.l3_off + ip_len || hook_load(ctx, s->at.l4_off, l4, sizeof(l4)))
		return -1;
	sum = (__u64)l4[1] + l4[2] + l4[3] + l4[5];
	/* TCP's field is 16 bytes behind, UDP's 6: the sum begins in the quoted IP header. */
	if (!is_udp)
		sum += (__u64)l4[0] + dst[3] + SHUNT_PICK(is_v6, src[3], dst[2]);
	/* Twice it is the complement: half of that, which is odd or even. */
	l4[4] = ~csum_fold16(sum);
	l4[4] = (l4[4] + (l4[4] & 1 ? 0xffff : 0)) >> 1;
	if (is_v6) {
		to = a->quote + sizeof(struct ipv6hdr) + REJECT_QUOTED;
		SHUNT_OPAQUE_CASE(to, 6);
	} else {
		to = a->quote + sizeof(struct iphdr) + REJECT_QUOTED;
		SHUNT_OPAQUE_CASE(to, 4);
	}
	__builtin_memcpy(to, &l4[4], 4);
	return hook_shift(ctx, ip_len + (is_udp ? 10 : 0));
}

/* Makes the answer of what is in @a, quoting @len bytes. @head: length of IP and ICMP header. */
static __always_inline int rare_reject_make(hook_ctx *ctx, const struct scratch *s,
					    struct rare_answer *a, __u32 head, __u32 len)
{
	int made;

	if (s->pkt.tuple.family == SHUNT_V6)
		made = rare_reject_frame(ctx, s, a, head + len, sizeof(a->ip6) + sizeof(a->icmp));
	else
		made = rare_reject_frame(ctx, s, a, head + len, sizeof(a->ip4) + sizeof(a->icmp));
	return made || rare_reject_store(ctx, s, a, sizeof(a->icmp)) ||
	       hook_store(ctx, s->at.l3_off + head, a->quote, len);
}

static __always_inline int rare_reject_error(hook_ctx *ctx, const struct scratch *s,
					     struct rare_answer *a, enum reject_why why)
{
	const int is_v6 = s->pkt.tuple.family == SHUNT_V6;
	__u32 len = (s->at.l4_off - s->at.l3_off + REJECT_QUOTED) & ~3u;
	__u32 head = (is_v6 ? sizeof(a->ip6) : sizeof(a->ip4)) + sizeof(a->icmp);
	__u32 pseudo = 0;

	/* Two comparisons of len itself: 6.12's verifier learns nothing from others. */
	asm volatile("" : "+r"(len));
	if (len < sizeof(a->ip4) || rare_reject_l2(ctx, s, a))
		return -1;
	asm volatile("" : "+r"(len));
	if (len > RARE_QUOTE_MAX)
		return -1;
	len = rare_reject_size(len, RARE_QUOTE_MAX);
	if (hook_load(ctx, s->at.l3_off, a->quote, len))
		return -1;
	if (!reject_is_refusal(why) && hook_cut_partial(ctx, s->at.l4_off)) {
		if (rare_reject_shift(ctx, s, a, is_v6))
			return -1;
		len = (is_v6 ? sizeof(a->ip6) : sizeof(a->ip4)) + REJECT_QUOTED + 4;
	}
	if (is_v6)
		pseudo = csum_fold32(
			reject_ipv6(&a->ip6, &s->pkt, sizeof(a->icmp) + len, IPPROTO_ICMPV6));
	else
		reject_ipv4(&a->ip4, &s->pkt, head + len, IPPROTO_ICMP);
	rare_reject_head(a, is_v6, len, pseudo, why);
	return rare_reject_make(ctx, s, a, head, len);
}

/**
 * rare_reject - answer a packet of any form with RST or an ICMP error
 *
 * Return: as reject_packet().
 */
__attribute__((noinline)) int rare_reject(hook_ctx *ctx, enum reject_why why)
{
	const struct scratch *s = scratch_get();
	struct rare_answer *a;
	struct ethhdr eth;
	__u32 zero = 0;
	int is_icmp;

	a = bpf_map_lookup_elem(&rare_answer, &zero);
	if (!s || !a || rare_parse(ctx) != SHUNT_R_FORWARDED || s->at.part == PLACE_LATER ||
	    hook_load(ctx, 0, &eth, sizeof(eth)))
		return -1;
	if (!gate_is_for_us(ctx, gate_find(hook_ifindex(ctx))))
		return REJECT_NOT_OURS;
	if (!reject_may_answer(&s->pkt, &eth, s->pkt.tuple.family))
		return -1;
	is_icmp = s->pkt.tuple.proto == IPPROTO_UDP || !reject_is_refusal(why);
	if (!is_icmp && s->pkt.tcp.flags & SHUNT_TCP_RST)
		return -1;
	if (!reject_admit(is_icmp ? SHUNT_ANSWER_ICMP : SHUNT_ANSWER_RST))
		return REJECT_LIMITED;
	return is_icmp ? rare_reject_error(ctx, s, a, why) : rare_reject_rst(ctx, s, a);
}

#endif
