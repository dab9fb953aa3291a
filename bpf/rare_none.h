/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RARE_NONE_H
#define SHUNT_BPF_RARE_NONE_H

#include "icmp.h"

/*
 * In the place of rare.h where the kernel gives no bytes at variable offsets (XDP before 5.18):
 * ICMP in the plain form, and why the others are passed.
 */

/* No request is looked at. */
static __always_inline int canned_finish(hook_ctx *ctx, __u64 result, int said)
{
	(void)ctx;
	(void)result;
	(void)said;
	return HOOK_DROP;
}

static __always_inline int rare_read_ipv4(hook_ctx *ctx)
{
	const struct iphdr *ip = hook_data(ctx) + sizeof(struct ethhdr);

	if ((void *)(ip + 1) > hook_end(ctx))
		return SHUNT_R_TRUNCATED;
	if (ip->ihl != 5)
		return SHUNT_R_IPV4_OPTIONS;
	if (ip->frag_off & bpf_htons(IPV4_FRAG_MASK))
		return SHUNT_R_FRAGMENT;
	return ip->protocol == IPPROTO_ICMP ? icmp_ingress(ctx, SHUNT_V4) : SHUNT_R_TRUNCATED;
}

static __always_inline int rare_read_ipv6(hook_ctx *ctx)
{
	const struct ipv6hdr *ip = hook_data(ctx) + sizeof(struct ethhdr);

	if ((void *)(ip + 1) > hook_end(ctx))
		return SHUNT_R_TRUNCATED;
	if (ip->nexthdr == IPPROTO_FRAGMENT)
		return SHUNT_R_FRAGMENT;
	if (ip->nexthdr == IPPROTO_ICMPV6)
		return icmp_ingress(ctx, SHUNT_V6);
	return parse_is_extension(ip->nexthdr) ? SHUNT_R_EXT_HEADERS : SHUNT_R_TRUNCATED;
}

/* As in rare.h, but there is never anything left to decide. */
static __always_inline int rare_read(hook_ctx *ctx, int is_answer)
{
	int reason = SHUNT_R_NOT_IP;

	(void)is_answer;
	switch (parse_family(ctx)) {
	case SHUNT_V4:
		reason = rare_read_ipv4(ctx);
		break;
	case SHUNT_V6:
		reason = rare_read_ipv6(ctx);
		break;
	}
	if (reason != SHUNT_R_NOT_IP)
		TRACE_SAID(SHUNT_TRACE_PARSE, reason);
	return reason;
}

#define RARE_DECIDE 0xff
#define RARE_NEW    0
#define RARE_ANSWER 0
#define RARE_BACK   0

static __always_inline int rare_send(hook_ctx *ctx, __u64 ref, __u32 how)
{
	(void)ctx;
	(void)ref;
	(void)how;
	return SHUNT_R_REWRITE;
}

static __always_inline int rare_led(hook_ctx *ctx, int reason, int is_new)
{
	(void)ctx;
	(void)reason;
	(void)is_new;
	return SHUNT_R_REWRITE;
}

#endif
