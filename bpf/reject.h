/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_REJECT_H
#define SHUNT_BPF_REJECT_H

#include "csum.h"
#include "gate.h"
#include "hook.h"
#include "lookup.h"
#include "parse.h"
#include "scratch.h"

/*
 * Turns a packet into the answer that refuses it, and sends it back: TCP gets a RST
 * (RFC 9293, 3.10.7.1), UDP an ICMP port unreachable (RFC 792, RFC 4443) that quotes the IP
 * header and 8 bytes behind it. What Shunt itself routes (route.h) and cannot send on is answered
 * as a router does, by another ICMP error of that form.
 *
 * The answer's source is what the packet was sent to, as that is an address that its sender has
 * a way to; a gate's own may be one that firewalls on the way back do not take.
 *
 * A refused skb's checksum may be partial, which tc can neither see nor change: then it is
 * completed later, over what stands there now. So each answer is made right both ways, as it
 * is and completed, by a field that its receiver ignores (for ICMP it is 0 by itself).
 */

#define REJECT_TTL    64
#define REJECT_QUOTED 8 /* bytes behind the quoted IP header: the ports and more */

/* What reject_v4() and reject_v6() return for one answer too many; 1 and -1: cannot be made. */
#define REJECT_LIMITED	2
#define REJECT_NOT_OURS 3 /* it was for another host: leave it as it is */
#define REJECT_ODD	4 /* the packet is not of the plain form: see rare_reject.h */

/* linux/icmp.h needs a C library for the target. Both families' errors begin alike. */
#define ICMP_DEST_UNREACH   3
#define ICMP_PORT_UNREACH   3
#define ICMP_FRAG_NEEDED    4
#define ICMP_PKT_FILTERED   13
#define ICMP_TIME_EXCEEDED  11
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PROHIBITED   1
#define ICMPV6_PORT_UNREACH 4
#define ICMPV6_PKT_TOOBIG   2
#define ICMPV6_TIME_EXCEED  3
#define REJECT_LEAST_MTU_V6 1280

/* What the sender is told. */
enum reject_why {
	REJECT_REFUSED,	   /* RST, or port unreachable */
	REJECT_TOO_BIG,	   /* for the way in scratch.fib */
	REJECT_HOP_LIMIT,  /* used up */
	REJECT_PROHIBITED, /* as REJECT_REFUSED, by a policy: RST, or administratively prohibited */
};

/* Is the packet refused, and not just unable to go on? */
static __always_inline int reject_is_refusal(enum reject_why why)
{
	return why == REJECT_REFUSED || why == REJECT_PROHIBITED;
}

struct icmp_error {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be16 unused;
	union {
		__u16 partial; /* unused: where a UDP header has its checksum */
		__be16 mtu_be; /* of "too big"; IPv6: its low half */
	};
};

struct reject_rst4 {
	__u16 pad; /* aligns what follows Ethernet; not sent */
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
};

struct reject_rst6 {
	__u16 pad; /* aligns what follows Ethernet; not sent */
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

struct reject_icmp4 {
	__u16 pad; /* aligns what follows Ethernet; not sent */
	struct ethhdr eth;
	struct iphdr ip;
	struct icmp_error icmp;
	struct iphdr quoted_ip;
	__u8 quoted[REJECT_QUOTED];
};

struct reject_icmp6 {
	__u16 pad; /* aligns what follows Ethernet; not sent */
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp_error icmp;
	struct ipv6hdr quoted_ip;
	__u8 quoted[REJECT_QUOTED];
};

/* Makes the frame @frame, from its Ethernet header on. @grow: as hook_resize(). */
#define reject_send(ctx, pkt, frame, grow)                                                         \
	(hook_resize(ctx, (pkt)->ip_bytes + sizeof(struct ethhdr),                                 \
		     sizeof(frame) - sizeof((frame).pad), grow) ||                                 \
	 hook_write(ctx, &(frame).eth, sizeof(frame) - sizeof((frame).pad)))

/* One's-complement sum of @len bytes, a multiple of 4, plus @sum. */
static __always_inline __u64 reject_sum(void *data, __u32 len, __u32 sum)
{
	return bpf_csum_diff(NULL, 0, data, len, sum);
}

static __always_inline void reject_eth(struct ethhdr *eth, const struct ethhdr *from)
{
	__builtin_memcpy(eth->h_dest, from->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, from->h_dest, ETH_ALEN);
	eth->h_proto = from->h_proto;
}

static __always_inline void reject_ipv4(struct iphdr *ip, const struct packet *pkt, __u32 len,
					__u8 proto)
{
	*ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(len),
		.frag_off = bpf_htons(0x4000), /* don't fragment */
		.ttl = REJECT_TTL,
		.protocol = proto,
		.saddr = pkt->tuple.dst.word_be[3],
		.daddr = pkt->tuple.src.word_be[3],
	};
	ip->check = ~csum_fold16(reject_sum(ip, sizeof(*ip), 0));
}

/* Returns the sum of the pseudo header. */
static __always_inline __u64 reject_ipv6(struct ipv6hdr *ip, const struct packet *pkt, __u32 len,
					 __u8 proto)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(len);
	ip->nexthdr = proto;
	ip->hop_limit = REJECT_TTL;
	__builtin_memcpy(&ip->saddr, &pkt->tuple.dst, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &pkt->tuple.src, sizeof(ip->daddr));
	return reject_sum(&ip->saddr, 2 * sizeof(ip->saddr), bpf_htons(len) + bpf_htons(proto));
}

/* The RST that answers @pkt. @payload: its TCP payload's length, SYN and FIN not counted. */
static __always_inline void reject_tcp(struct tcphdr *tcp, const struct packet *pkt, __u32 payload)
{
	const int is_acked = !!(pkt->tcp.flags & SHUNT_TCP_ACK);
	__u32 end = pkt->tcp.seq + payload + !!(pkt->tcp.flags & SHUNT_TCP_SYN) +
		    !!(pkt->tcp.flags & SHUNT_TCP_FIN);

	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = pkt->tuple.dport_be;
	tcp->dest = pkt->tuple.sport_be;
	tcp->doff = sizeof(*tcp) / 4;
	tcp->rst = 1;
	tcp->ack = !is_acked;
	/* Both are written: of a choice between the two clang makes a variable offset. */
	tcp->seq = is_acked ? bpf_htonl(pkt->tcp.ack) : 0;
	tcp->ack_seq = is_acked ? 0 : bpf_htonl(end);
}

/*
 * The checksum of a RST. Partial, it would have to be the sum of the pseudo header; so it is,
 * and the window takes up the rest.
 */
static __always_inline void reject_tcp_csum(struct tcphdr *tcp, __u64 pseudo)
{
	tcp->check = csum_fold16(pseudo);
	tcp->window = ~csum_fold16(reject_sum(tcp, sizeof(*tcp), pseudo));
}

static __always_inline int reject_rst_v4(hook_ctx *ctx, const struct packet *pkt,
					 const struct ethhdr *from, __u32 payload)
{
	struct reject_rst4 rst;
	__u64 sum;

	reject_eth(&rst.eth, from);
	reject_ipv4(&rst.ip, pkt, sizeof(rst.ip) + sizeof(rst.tcp), IPPROTO_TCP);
	reject_tcp(&rst.tcp, pkt, payload);
	sum = reject_sum(&rst.ip.saddr, 8, bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(rst.tcp)));
	reject_tcp_csum(&rst.tcp, sum);
	return reject_send(ctx, pkt, rst, 0);
}

static __always_inline int reject_rst_v6(hook_ctx *ctx, const struct packet *pkt,
					 const struct ethhdr *from, __u32 payload)
{
	struct reject_rst6 rst;
	__u64 sum;

	reject_eth(&rst.eth, from);
	sum = reject_ipv6(&rst.ip, pkt, sizeof(rst.tcp), IPPROTO_TCP);
	reject_tcp(&rst.tcp, pkt, payload);
	reject_tcp_csum(&rst.tcp, sum);
	return reject_send(ctx, pkt, rst, 0);
}

/* The MTU that the kernel named for the way in the scratch. */
static __always_inline __be16 reject_mtu(int is_v6)
{
	const struct scratch *s = scratch_get();
	__u32 mtu = s ? s->fib.mtu_result : 0;

	return bpf_htons(is_v6 && mtu < REJECT_LEAST_MTU_V6 ? REJECT_LEAST_MTU_V6 : mtu);
}

/* Type, code and MTU; the rest is 0. */
static __always_inline void reject_icmp(struct icmp_error *icmp, int is_v6, enum reject_why why)
{
	__builtin_memset(icmp, 0, sizeof(*icmp));
	switch (why) {
	case REJECT_TOO_BIG:
		icmp->type = is_v6 ? ICMPV6_PKT_TOOBIG : ICMP_DEST_UNREACH;
		icmp->code = is_v6 ? 0 : ICMP_FRAG_NEEDED;
		icmp->mtu_be = reject_mtu(is_v6);
		break;
	case REJECT_HOP_LIMIT:
		icmp->type = is_v6 ? ICMPV6_TIME_EXCEED : ICMP_TIME_EXCEEDED;
		break;
	case REJECT_PROHIBITED:
		icmp->type = is_v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
		icmp->code = is_v6 ? ICMPV6_PROHIBITED : ICMP_PKT_FILTERED;
		break;
	default:
		icmp->type = is_v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
		icmp->code = is_v6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH;
	}
}

static __always_inline int reject_icmp_v4(hook_ctx *ctx, const struct packet *pkt,
					  const struct ethhdr *from, enum reject_why why)
{
	struct reject_icmp4 out;
	const __u32 len = sizeof(out) - __builtin_offsetof(struct reject_icmp4, ip);

	reject_eth(&out.eth, from);
	reject_ipv4(&out.ip, pkt, len, IPPROTO_ICMP);
	reject_icmp(&out.icmp, 0, why);
	__builtin_memcpy(&out.quoted_ip, from + 1, sizeof(out.quoted_ip) + sizeof(out.quoted));
	out.icmp.checksum = ~csum_fold16(reject_sum(&out.icmp, len - sizeof(out.ip), 0));
	return reject_send(ctx, pkt, out, sizeof(out.ip) + sizeof(out.icmp));
}

static __always_inline int reject_icmp_v6(hook_ctx *ctx, const struct packet *pkt,
					  const struct ethhdr *from, enum reject_why why)
{
	struct reject_icmp6 out;
	const __u32 len = sizeof(out) - __builtin_offsetof(struct reject_icmp6, icmp);
	__u64 sum;

	reject_eth(&out.eth, from);
	sum = reject_ipv6(&out.ip, pkt, len, IPPROTO_ICMPV6);
	reject_icmp(&out.icmp, 1, why);
	__builtin_memcpy(&out.quoted_ip, from + 1, sizeof(out.quoted_ip) + sizeof(out.quoted));
	if (reject_is_refusal(why))
		out.icmp.partial = csum_fold16(sum); /* what completing would write there */
	out.icmp.checksum = ~csum_fold16(reject_sum(&out.icmp, len, sum));
	return reject_send(ctx, pkt, out, sizeof(out.ip) + sizeof(out.icmp));
}

/*
 * Does the frame come from one host to one? Nothing else may be answered (RFC 1122, 3.2.2;
 * RFC 4443, 2.4 (e)).
 */
static __always_inline int reject_may_answer(const struct packet *pkt, const struct ethhdr *from,
					     __u32 family)
{
	const __be32 *src = pkt->tuple.src.word_be;
	__u32 first = bpf_ntohl(SHUNT_PICK(family == SHUNT_V6, src[3], src[0])) >> 24;

	if (from->h_dest[0] & 1)
		return 0;
	if (family == SHUNT_V4)
		return first && first != 127 && first < 224;
	return first != 0xff && (src[0] || src[1] || src[2] || bpf_ntohl(src[3]) > 1);
}

/**
 * reject_admit - may this CPU give one more answer of a kind now?
 * @kind: enum shunt_answer
 *
 * So that spoofed packets are not reflected at their own rate; RFC 4443, 2.4 (f) asks for it.
 * The generic cell rate algorithm in one word: each answer puts off the time when all are
 * paid for, which may be at most the burst ahead.
 *
 * Return: 1 if so; then the answer is accounted for.
 */
__attribute__((noinline)) int reject_admit(__u32 kind)
{
	struct shunt_answer_limit *limit = bpf_map_lookup_elem(&shunt_answer_limits, &kind);
	const struct shunt_settings *settings = lookup_settings();
	__u64 now = bpf_jiffies64() << SHUNT_ANSWER_SHIFT, due;
	__u32 cost;

	if (!settings || !limit)
		return 1;
	cost = SHUNT_PICK(kind == SHUNT_ANSWER_RST, settings->answer_cost[SHUNT_ANSWER_ICMP],
			  settings->answer_cost[SHUNT_ANSWER_RST]);
	if (!cost)
		return 1;
	due = (limit->due > now ? limit->due : now) + cost;
	if (due > now + ((__u64)settings->answer_burst_jiffies << SHUNT_ANSWER_SHIFT))
		return 0;
	limit->due = due;
	return 1;
}

/**
 * reject_packet - answer a packet with RST or an ICMP error
 * @family: a constant
 *
 * Parses again, in a frame of its own: 512 bytes of stack do not hold all. A RST is never
 * answered, nor what did not come from one host to one.
 *
 * Return: 0: the frame is the answer now; REJECT_LIMITED: it would be one too many;
 * REJECT_NOT_OURS; REJECT_ODD; otherwise it could not be made.
 */
static __always_inline int reject_packet(hook_ctx *ctx, __u32 family, enum reject_why why)
{
	const __u32 l3_len = family == SHUNT_V6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	const struct ethhdr *from;
	const struct tcphdr *tcp;
	struct packet pkt = {};
	__u32 payload;
	int is_icmp;

	if (parse_linear(ctx, family, &pkt) != SHUNT_R_FORWARDED)
		return REJECT_ODD;
	if (!gate_is_for_us(ctx, gate_find(hook_ifindex(ctx))))
		return REJECT_NOT_OURS;
	from = hook_data(ctx);
	tcp = (const void *)(from + 1) + l3_len;
	if ((const void *)tcp + REJECT_QUOTED > hook_end(ctx) ||
	    !reject_may_answer(&pkt, from, family))
		return -1;
	if (pkt.tuple.proto == IPPROTO_TCP && reject_is_refusal(why) &&
	    (pkt.tcp.flags & SHUNT_TCP_RST || (const void *)(tcp + 1) > hook_end(ctx)))
		return -1;
	is_icmp = pkt.tuple.proto == IPPROTO_UDP || !reject_is_refusal(why);
	if (!reject_admit(is_icmp ? SHUNT_ANSWER_ICMP : SHUNT_ANSWER_RST))
		return REJECT_LIMITED;
	if (is_icmp)
		return family == SHUNT_V6 ? reject_icmp_v6(ctx, &pkt, from, why)
					  : reject_icmp_v4(ctx, &pkt, from, why);
	/* As above: the verifier does not see that this is the same case. */
	if ((const void *)(tcp + 1) > hook_end(ctx))
		return -1;
	payload = pkt.ip_bytes - l3_len - tcp->doff * 4;
	return family == SHUNT_V6 ? reject_rst_v6(ctx, &pkt, from, payload)
				  : reject_rst_v4(ctx, &pkt, from, payload);
}

/* rare_reject() tells all else, where it is. */
#ifdef HOOK_ANY_OFFSET
#define REJECT_TELLS 0
#else
#define REJECT_TELLS 1
#endif

/* What this program's plain answers can say. */
static __always_inline enum reject_why reject_told(enum reject_why why)
{
	return REJECT_TELLS || why == REJECT_PROHIBITED ? why : REJECT_REFUSED;
}

/* @why is used in any case: callers leave out an argument that no code reads. */

__attribute__((noinline)) int reject_v4(hook_ctx *ctx, enum reject_why why)
{
	asm volatile("" : "+r"(why));
	return reject_packet(ctx, SHUNT_V4, reject_told(why));
}

__attribute__((noinline)) int reject_v6(hook_ctx *ctx, enum reject_why why)
{
	asm volatile("" : "+r"(why));
	return reject_packet(ctx, SHUNT_V6, reject_told(why));
}

#endif
