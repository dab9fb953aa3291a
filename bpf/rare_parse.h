/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RARE_PARSE_H
#define SHUNT_BPF_RARE_PARSE_H

#include "scratch.h"

/*
 * Headers that stand anywhere: behind VLAN tags, IPv4 options and IPv6 extension headers, also
 * of fragments, and wherever the frame's bytes lie. Each is read by a helper into the stack or
 * the scratch, for the verifier allows no pointer with a variable offset without CAP_PERFMON.
 * That is slower than parse.h (some 20 ns a header), and rare.
 */

#define RARE_VLAN_TAGS	2
#define RARE_EXTENSIONS 6
#define ETH_P_QINQ1	0x9100 /* the tag of old bridges; <linux/if_ether.h> says deprecated */

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFF   0x1fff /* in units of 8 bytes */

/* Each IPv6 extension header begins so, and has at least these 8 bytes. */
struct rare_extension {
	__u8 next;
	__u8 len;	 /* in units of 8 bytes, less one; AH: of 4, less two */
	__be16 frag_off; /* fragment: offset, in units of 8 bytes, << 3 | more fragments */
	__be32 id_be;	 /* fragment */
};

static __always_inline int rare_is_tag(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD) ||
	       type == bpf_htons(ETH_P_QINQ1);
}

/* Where the IP header begins. Return: its EtherType, or 0 with *@ret_reason. */
static __always_inline __be16 rare_ethernet(hook_ctx *ctx, __u32 *ret_off, int *ret_reason)
{
	__u32 off = __builtin_offsetof(struct ethhdr, h_proto), tags = hook_tags(ctx);
	__be16 type;

	*ret_reason = SHUNT_R_NOT_IP;
#pragma GCC unroll 3
	for (int i = 0; i <= RARE_VLAN_TAGS; i++) {
		if (hook_load(ctx, off, &type, sizeof(type)))
			return 0;
		if (type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_IPV6)) {
			*ret_off = off + sizeof(type);
			return type;
		}
		if (!rare_is_tag(type))
			return 0;
		if (tags++ == RARE_VLAN_TAGS) {
			*ret_reason = SHUNT_R_VLAN_DEPTH;
			return 0;
		}
		off += 2 * sizeof(type);
	}
	return 0;
}

/* Which part of a packet is it that begins at @data_off? */
static __always_inline __u32 rare_part(__u32 data_off, int has_more)
{
	if (data_off)
		return PLACE_LATER;
	return has_more ? PLACE_FIRST : PLACE_WHOLE;
}

/* What the length fields say. A super-packet of more than 64 KiB says 0: all there is. */
static __always_inline __u32 rare_ip_bytes(hook_ctx *ctx, const struct place *at, __u32 said)
{
	return said || hook_segments(ctx) < 2 ? said : hook_len(ctx) - at->l3_off;
}

static __always_inline int rare_ipv4(hook_ctx *ctx, struct packet *pkt, struct place *at)
{
	__u32 headers, frag_off;
	struct iphdr ip;

	if (hook_load(ctx, at->l3_off, &ip, sizeof(ip)))
		return SHUNT_R_TRUNCATED;
	headers = ip.ihl * 4;
	if (ip.version != 4 || headers < sizeof(ip))
		return SHUNT_R_IPV4_OPTIONS;
	pkt->ip_bytes = rare_ip_bytes(ctx, at, bpf_ntohs(ip.tot_len));
	if (pkt->ip_bytes < headers)
		return SHUNT_R_TRUNCATED;
	pkt->tuple.src.word_be[3] = ip.saddr;
	pkt->tuple.dst.word_be[3] = ip.daddr;
	pkt->tuple.proto = ip.protocol;
	pkt->tuple.family = SHUNT_V4;
	frag_off = bpf_ntohs(ip.frag_off);
	at->data_off = (frag_off & IPV4_FRAGMENT_OFF) * 8;
	at->part = rare_part(at->data_off, frag_off & IPV4_MORE_FRAGMENTS);
	at->id_be = ip.id;
	at->l4_off = at->l3_off + headers;
	at->l4_bytes = at->first_bytes = pkt->ip_bytes - headers;
	return SHUNT_R_FORWARDED;
}

/**
 * rare_extension - step over the extension header @proto at at->l4_off
 * @ret_next: the number of the next one
 *
 * Return: SHUNT_R_FORWARDED, or why the packet is not ours.
 */
static __always_inline int rare_extension(hook_ctx *ctx, struct place *at, __u8 proto,
					  __u8 *ret_next)
{
	struct rare_extension ext;
	__u32 len = 8;

	if (hook_load(ctx, at->l4_off, &ext, sizeof(ext)))
		return SHUNT_R_TRUNCATED;
	if (proto == IPPROTO_FRAGMENT) {
		if (at->part != PLACE_WHOLE)
			return SHUNT_R_EXT_HEADERS; /* a fragment of a fragment */
		at->data_off = bpf_ntohs(ext.frag_off) & ~7u;
		at->part = rare_part(at->data_off, bpf_ntohs(ext.frag_off) & 1);
		at->id_be = ext.id_be;
		at->first_bytes = at->l4_off + len;
	} else if (proto == IPPROTO_AH) {
		len = (ext.len + 2) * 4;
	} else {
		len = (ext.len + 1) * 8;
		/* Segments left: the address that the checksum covers is not yet in place. */
		if (proto == IPPROTO_ROUTING && bpf_ntohs(ext.frag_off) & 0xff)
			return SHUNT_R_EXT_HEADERS;
	}
	at->l4_off += len;
	*ret_next = ext.next;
	return SHUNT_R_FORWARDED;
}

static __always_inline int rare_ipv6(hook_ctx *ctx, struct packet *pkt, struct place *at)
{
	struct ipv6hdr ip;
	__u32 end, len;
	__u8 proto;
	int reason;

	if (hook_load(ctx, at->l3_off, &ip, sizeof(ip)))
		return SHUNT_R_TRUNCATED;
	if (ip.version != 6)
		return SHUNT_R_EXT_HEADERS;
	__builtin_memcpy(&pkt->tuple.src, &ip.saddr, sizeof(pkt->tuple.src));
	__builtin_memcpy(&pkt->tuple.dst, &ip.daddr, sizeof(pkt->tuple.dst));
	len = bpf_ntohs(ip.payload_len);
	pkt->ip_bytes = rare_ip_bytes(ctx, at, len ? len + sizeof(ip) : 0);
	pkt->tuple.family = SHUNT_V6;
	end = at->l3_off + pkt->ip_bytes;
	at->l4_off = at->l3_off + sizeof(ip);
	proto = ip.nexthdr;
#pragma GCC unroll 7
	for (int i = 0; i <= RARE_EXTENSIONS; i++) {
		if (!parse_is_extension(proto) || at->part == PLACE_LATER)
			break;
		if (i == RARE_EXTENSIONS)
			return SHUNT_R_EXT_HEADERS;
		reason = rare_extension(ctx, at, proto, &proto);
		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	if (at->l4_off > end)
		return SHUNT_R_TRUNCATED;
	pkt->tuple.proto = proto;
	at->l4_bytes = end - at->l4_off;
	at->first_bytes = end - at->first_bytes;
	return SHUNT_R_FORWARDED;
}

/*
 * The IP header at at->l3_off, and those behind it up to the transport's: of a packet, or of one
 * that an ICMP error quotes.
 */
static __always_inline int rare_ip(hook_ctx *ctx, struct packet *pkt, struct place *at, int is_v6)
{
	return is_v6 ? rare_ipv6(ctx, pkt, at) : rare_ipv4(ctx, pkt, at);
}

/* Ports, and TCP's flags and numbers, of what is not a later fragment. */
static __always_inline int rare_l4(hook_ctx *ctx, struct scratch *s)
{
	/* Of a fragment: a tiny one, whose other half might say something else. */
	const int cut = s->at.part == PLACE_FIRST ? SHUNT_R_FRAGMENT : SHUNT_R_TRUNCATED;
	const int is_tcp = s->pkt.tuple.proto == IPPROTO_TCP;
	struct tcphdr tcp;

	if (!is_tcp && s->pkt.tuple.proto != IPPROTO_UDP)
		return SHUNT_R_L4_PROTO;
	if (s->at.l4_bytes < (is_tcp ? sizeof(tcp) : sizeof(struct udphdr)))
		return cut;
	if (is_tcp ? hook_load(ctx, s->at.l4_off, &tcp, sizeof(tcp))
		   : hook_load(ctx, s->at.l4_off, &tcp, sizeof(struct udphdr)))
		return SHUNT_R_TRUNCATED;
	s->pkt.tuple.sport_be = tcp.source;
	s->pkt.tuple.dport_be = tcp.dest;
	if (!is_tcp)
		return SHUNT_R_FORWARDED;
	if (s->at.part == PLACE_FIRST && s->at.l4_bytes < tcp.doff * 4)
		return cut;
	parse_tcp(&tcp, &s->pkt);
	return SHUNT_R_FORWARDED;
}

/**
 * rare_parse - read a frame of any form into the scratch: pkt, and at, where its headers stand
 *
 * Of a later fragment only the addresses. What is neither TCP nor UDP is in the scratch, too,
 * without ports.
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_L4_PROTO; or why the packet is not ours.
 */
__attribute__((noinline)) int rare_parse(hook_ctx *ctx)
{
	struct scratch *s = scratch_get();
	int reason = SHUNT_R_BAD_CONFIG;
	__be16 type;

	if (!s)
		return reason;
	__builtin_memset(&s->pkt, 0, sizeof(s->pkt));
	__builtin_memset(&s->at, 0, sizeof(s->at));
	type = rare_ethernet(ctx, &s->at.l3_off, &reason);
	if (!type)
		return reason;
	reason = rare_ip(ctx, &s->pkt, &s->at, type == bpf_htons(ETH_P_IPV6));
	if (reason != SHUNT_R_FORWARDED || s->at.part == PLACE_LATER)
		return reason;
	return rare_l4(ctx, s);
}

#endif
