/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_PARSE_H
#define SHUNT_BPF_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "shunt/tuple.h"

#define IPV4_FRAG_MASK 0x3fff /* more-fragments flag and offset */

/*
 * No reason, but where to go on: the frame is not of the plain form that is parsed here, one IP
 * header without options and TCP or UDP behind it, but may be ours all the same. See rare.h.
 */
#define PARSE_ODD 0xfe

/* IPv6 extension headers that <linux/in.h> lacks. */
#define IPPROTO_HIP   139
#define IPPROTO_SHIM6 140

/* A parsed packet: what the stages behind need of it, wherever its headers stand. */
struct packet {
	struct shunt_tuple tuple;  /* as on the wire */
	__u32 ip_bytes;		   /* length of the IP packet, headers included */
	struct shunt_tcp_view tcp; /* TCP only */
};

/* Reads what the tracking needs of the TCP header at @tcp. */
static __always_inline void parse_tcp(const struct tcphdr *tcp, struct packet *pkt)
{
	const __u32 bits = ((const __u8 *)tcp)[13];

	pkt->tcp.seq = bpf_ntohl(tcp->seq);
	pkt->tcp.ack = bpf_ntohl(tcp->ack_seq);
	/* FIN, SYN and RST stand as we have them; no branches, for verifier and processor. */
	pkt->tcp.flags = (bits & (SHUNT_TCP_FIN | SHUNT_TCP_SYN | SHUNT_TCP_RST)) |
			 (bits >> 1 & SHUNT_TCP_ACK);
}

/* A SYN without ACK or RST: what begins a TCP connection. */
static __always_inline int parse_is_syn(const struct packet *pkt)
{
	return (pkt->tcp.flags & (SHUNT_TCP_SYN | SHUNT_TCP_ACK | SHUNT_TCP_RST)) == SHUNT_TCP_SYN;
}

/* May TCP or UDP follow behind an IPv6 header of this number? */
static __always_inline int parse_is_extension(__u8 proto)
{
	switch (proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case IPPROTO_HIP:
	case IPPROTO_SHIM6:
		return 1;
	default:
		return 0;
	}
}

/**
 * parse_l4 - read the ports, and TCP's flags and numbers
 * @l4:  the header
 * @end: of the linear packet
 *
 * Return: SHUNT_R_FORWARDED, PARSE_ODD, or why the packet is not ours.
 */
static __always_inline int parse_l4(const void *l4, const void *end, struct packet *pkt)
{
	const struct udphdr *udp = l4;
	const struct tcphdr *tcp = l4;

	if (pkt->tuple.proto == IPPROTO_TCP) {
		if ((const void *)(tcp + 1) > end)
			return SHUNT_R_TRUNCATED;
		parse_tcp(tcp, pkt);
	} else if (pkt->tuple.proto == IPPROTO_UDP) {
		if ((const void *)(udp + 1) > end)
			return SHUNT_R_TRUNCATED;
	} else if (pkt->tuple.family == SHUNT_V6) {
		return pkt->tuple.proto == IPPROTO_ICMPV6 || parse_is_extension(pkt->tuple.proto)
			       ? PARSE_ODD
			       : SHUNT_R_L4_PROTO;
	} else {
		return pkt->tuple.proto == IPPROTO_ICMP ? PARSE_ODD : SHUNT_R_L4_PROTO;
	}
	pkt->tuple.sport_be = udp->source;
	pkt->tuple.dport_be = udp->dest;
	return SHUNT_R_FORWARDED;
}

static __always_inline int parse_ipv4(const void *l3, const void *end, struct packet *pkt)
{
	const struct iphdr *ip = l3;

	if ((const void *)(ip + 1) > end)
		return SHUNT_R_TRUNCATED;
	/* Without a length: the kernel's own, of more than 64 KiB. */
	if (ip->ihl != 5 || ip->frag_off & bpf_htons(IPV4_FRAG_MASK) || !ip->tot_len)
		return PARSE_ODD;

	pkt->tuple.src.word_be[3] = ip->saddr;
	pkt->tuple.dst.word_be[3] = ip->daddr;
	pkt->tuple.proto = ip->protocol;
	pkt->tuple.family = SHUNT_V4;
	pkt->ip_bytes = bpf_ntohs(ip->tot_len);
	return parse_l4(ip + 1, end, pkt);
}

static __always_inline int parse_ipv6(const void *l3, const void *end, struct packet *pkt)
{
	const struct ipv6hdr *ip = l3;

	if ((const void *)(ip + 1) > end)
		return SHUNT_R_TRUNCATED;
	if (!ip->payload_len)
		return PARSE_ODD;

	__builtin_memcpy(&pkt->tuple.src, &ip->saddr, sizeof(pkt->tuple.src));
	__builtin_memcpy(&pkt->tuple.dst, &ip->daddr, sizeof(pkt->tuple.dst));
	pkt->tuple.proto = ip->nexthdr;
	pkt->tuple.family = SHUNT_V6;
	pkt->ip_bytes = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	return parse_l4(ip + 1, end, pkt);
}

/* Which family a frame is of. Return: SHUNT_V4, SHUNT_V6, or SHUNT_N_FAMILIES: no IP. */
static __always_inline __u32 parse_family(hook_ctx *ctx)
{
	const struct ethhdr *eth = hook_data(ctx);

	if ((void *)(eth + 1) > hook_end(ctx))
		return SHUNT_N_FAMILIES;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return SHUNT_V4;
	return eth->h_proto == bpf_htons(ETH_P_IPV6) ? SHUNT_V6 : SHUNT_N_FAMILIES;
}

/**
 * parse_linear - frame -> tuple, of what is linear already
 * @family: as parse_family() said; a constant, so that each family has its own code
 * @pkt:    filled on SHUNT_R_FORWARDED only; zeroed by the caller
 *
 * Reads only.
 *
 * Return: SHUNT_R_FORWARDED, PARSE_ODD, or why the packet is not ours.
 */
static __always_inline int parse_linear(hook_ctx *ctx, __u32 family, struct packet *pkt)
{
	const void *l3 = hook_data(ctx) + sizeof(struct ethhdr);

	if (family == SHUNT_V6)
		return parse_ipv6(l3, hook_end(ctx), pkt);
	return parse_ipv4(l3, hook_end(ctx), pkt);
}

/* As parse_linear(), but headers outside of the linear part are pulled in first. */
static __always_inline int parse_packet(hook_ctx *ctx, __u32 family, struct packet *pkt)
{
	/* Without options; a longer pull would copy payload. */
	const __u32 headers = sizeof(struct ethhdr) + sizeof(struct tcphdr) +
			      (family == SHUNT_V6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	int reason = parse_linear(ctx, family, pkt);

	if (reason != SHUNT_R_TRUNCATED)
		return reason;
	return hook_pull(ctx, headers) ? HOOK_NOT_LINEAR : parse_linear(ctx, family, pkt);
}

#endif
