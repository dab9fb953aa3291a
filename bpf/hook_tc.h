/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_HOOK_TC_H
#define SHUNT_BPF_HOOK_TC_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "shunt/compat.h"

/*
 * The tc side of what the stages need of their hook. The frame is an skb: its payload may
 * be in fragments, its checksum partial, and it may stand for many segments.
 */
typedef struct __sk_buff hook_ctx;

/* UNSPEC, never OK: programs behind us on the same hook go on. */
#define HOOK_PASS   TC_ACT_UNSPEC
#define HOOK_DROP   TC_ACT_SHOT
#define HOOK_IS_XDP 0

static __always_inline void *hook_data(hook_ctx *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *hook_end(hook_ctx *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline __u32 hook_ifindex(hook_ctx *ctx)
{
	return ctx->ifindex;
}

/* Does the frame carry the device's own MAC? Then nobody has to look. */
static __always_inline int hook_is_own(hook_ctx *ctx)
{
	return ctx->pkt_type == PACKET_HOST;
}

/* Makes the first @len bytes linear; packet pointers are stale afterwards. */
static __always_inline int hook_pull(hook_ctx *ctx, __u32 len)
{
	/* More than there is would fail: a datagram may be shorter than what TCP needs. */
	return bpf_skb_pull_data(ctx, len < ctx->len ? len : ctx->len);
}

/* What a frame is whose headers could not be made linear. */
#define HOOK_NOT_LINEAR SHUNT_R_TRUNCATED

/*
 * Bytes at any offset, wherever they lie. @to: stack or scratch; @len: a constant, or bounded.
 * Return: 0, or negative: the frame ends before.
 */
#define HOOK_ANY_OFFSET

static __always_inline int hook_load(hook_ctx *ctx, __u32 off, void *to, __u32 len)
{
	return bpf_skb_load_bytes(ctx, off, to, len);
}

/* Writes what other words that change make up for in the sum of the whole packet. */
static __always_inline int hook_store(hook_ctx *ctx, __u32 off, const void *from, __u32 len)
{
	return bpf_skb_store_bytes(ctx, off, from, len, 0);
}

/* Writes what nothing makes up for: a sum that the device gave is corrected. */
static __always_inline int hook_store_summed(hook_ctx *ctx, __u32 off, const void *from, __u32 len)
{
	return bpf_skb_store_bytes(ctx, off, from, len, BPF_F_RECOMPUTE_CSUM);
}

/* Bytes of the frame, with the Ethernet header. */
static __always_inline __u32 hook_len(hook_ctx *ctx)
{
	return ctx->len;
}

/* How many VLAN tags stand beside the frame, taken out by the device or the kernel. */
static __always_inline __u32 hook_tags(hook_ctx *ctx)
{
	return ctx->vlan_present;
}

/* How many packets on the wire this one stands for. */
static __always_inline __u32 hook_segments(hook_ctx *ctx)
{
	return ctx->gso_segs ? ctx->gso_segs : 1;
}

/* Kernel 6.16 and stable ones of that time; the headers here may be older. */
#define HOOK_F_IPV6 (1ull << 7) /* BPF_F_IPV6 */

/*
 * Accounts for changed addresses and ports in the checksum of the TCP or UDP header at
 * @l4_off. @addr_diff, @port_diff: what must be added to the sum, as csum.h says. A partial
 * checksum holds only the pseudo header: the kernel's helper tells the two by its flag. The
 * other flag concerns a sum over the whole packet that the device gave (CHECKSUM_COMPLETE): in
 * IPv6, without a header checksum, a changed address leaves it as it is. A kernel that does
 * not know the flag gets such a sum wrong, and computes it anew when the packet ends here.
 * Packet pointers are stale.
 */
static __always_inline int hook_fix_l4_csum(hook_ctx *ctx, __u32 l4_off, int is_v6, __u32 addr_diff,
					    __u32 port_diff, int is_udp)
{
	__u32 off = l4_off + (is_udp ? __builtin_offsetof(struct udphdr, check)
				     : __builtin_offsetof(struct tcphdr, check));
	__u64 flags = is_udp ? BPF_F_MARK_MANGLED_0 : 0;

	if (!(is_v6 && !bpf_l4_csum_replace(ctx, off, 0, addr_diff,
					    BPF_F_PSEUDO_HDR | HOOK_F_IPV6 | flags)) &&
	    bpf_l4_csum_replace(ctx, off, 0, addr_diff, BPF_F_PSEUDO_HDR | flags))
		return -1;
	return port_diff ? bpf_l4_csum_replace(ctx, off, 0, port_diff, flags) : 0;
}

/* The same where @l4_off is no constant. */
#define hook_fix_l4_csum_any hook_fix_l4_csum

/* Makes the frame @len bytes long; packet pointers are stale. XDP needs the other two. */
static __always_inline int hook_resize(hook_ctx *ctx, __u32 old_len, __u32 len, __u32 grow)
{
	(void)old_len;
	(void)grow;
	return bpf_skb_change_tail(ctx, len, 0);
}

/*
 * Is the checksum of the TCP or UDP header at @l4_off partial, as of what a host on this machine
 * sent, or what GRO put together? No program is told, but the kernel does not cut such a frame
 * before the field. Any other is cut there.
 */
static __always_inline int hook_cut_partial(hook_ctx *ctx, __u32 l4_off)
{
	return bpf_skb_change_tail(ctx, l4_off + 4, 0) != 0;
}

/* Puts @len bytes before the frame, which are Ethernet's from now on. */
static __always_inline int hook_shift(hook_ctx *ctx, __u32 len)
{
	return bpf_skb_change_head(ctx, len, 0);
}

/* Writes @len bytes at the start of the frame. @len is a constant. */
#define hook_write(ctx, buf, len) bpf_skb_store_bytes(ctx, 0, buf, len, BPF_F_INVALIDATE_HASH)

/* Bytes of the longest IP packet on the wire that this one of @ip_bytes stands for. */
static __always_inline __u32 hook_wire_bytes(hook_ctx *ctx, __u32 ip_bytes, __u32 headers)
{
	return ctx->gso_size ? ctx->gso_size + headers : ip_bytes;
}

/* The kernel finds the neighbour, and waits for it if need be. */
#define HOOK_FINDS_NEIGHBOURS 1

/*
 * Sends the frame into the other end of a veth: no queue, no second look at this end. Its network
 * namespace takes it for a frame that came in, so it must be one for this host; kernels before 6.15
 * leave that as it was, and at the port of a bridge it is another's.
 */
static __always_inline int hook_enter(hook_ctx *ctx, const struct bpf_fib_lookup *to)
{
	struct ethhdr *eth = hook_data(ctx);

	if ((void *)(eth + 1) > hook_end(ctx))
		return TC_ACT_SHOT;
	__builtin_memcpy(eth->h_dest, to->dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, to->smac, ETH_ALEN);
	if (ctx->pkt_type != PACKET_HOST && bpf_skb_change_type(ctx, PACKET_HOST))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(to->ifindex, 0);
}

/*
 * Sends the frame out by the next hop that bpf_fib_lookup() found. @to_peer: at once into the
 * other end of the veth that it names, which has a neighbour. Return: the verdict.
 */
static __always_inline int hook_leave(hook_ctx *ctx, const struct bpf_fib_lookup *to, int to_peer)
{
	struct bpf_redir_neigh next = { .nh_family = to->family };

	if (to_peer)
		return hook_enter(ctx, to);
	/* The IPv4 address is the first word of the union, on both sides. */
	__builtin_memcpy(next.ipv6_nh, to->ipv6_dst, sizeof(next.ipv6_nh));
	return bpf_redirect_neigh(to->ifindex, &next, sizeof(next), 0);
}

/* Sends the frame back out of the interface that it came in on. */
static __always_inline int hook_bounce(hook_ctx *ctx)
{
	return bpf_redirect(ctx->ifindex, 0);
}

#endif
