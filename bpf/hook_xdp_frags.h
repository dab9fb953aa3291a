/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_HOOK_XDP_FRAGS_H
#define SHUNT_BPF_HOOK_XDP_FRAGS_H

/*
 * What XDP has since kernel 5.18, a part of hook_xdp.h: frames of more than one buffer (jumbo
 * frames), and bytes at any offset. Programs of older kernels do without (rare_none.h).
 */
#define HOOK_ANY_OFFSET

static __always_inline int hook_load(hook_ctx *ctx, __u32 off, void *to, __u32 len)
{
	return bpf_xdp_load_bytes(ctx, off, to, len);
}

static __always_inline int hook_store(hook_ctx *ctx, __u32 off, const void *from, __u32 len)
{
	return bpf_xdp_store_bytes(ctx, off, (void *)from, len);
}

static __always_inline int hook_store_summed(hook_ctx *ctx, __u32 off, const void *from, __u32 len)
{
	return hook_store(ctx, off, from, len);
}

static __always_inline __u32 hook_len(hook_ctx *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* As in hook_tc.h: here all checksums are complete. */
static __always_inline int hook_cut_partial(hook_ctx *ctx, __u32 l4_off)
{
	(void)ctx;
	(void)l4_off;
	return 0;
}

static __always_inline int hook_shift(hook_ctx *ctx, __u32 len)
{
	(void)ctx;
	(void)len;
	return -1;
}

/* hook_fix_l4_csum() where @l4_off is no constant. */
static __always_inline int hook_fix_l4_csum_any(hook_ctx *ctx, __u32 l4_off, int is_v6,
						__u32 addr_diff, __u32 port_diff, int is_udp)
{
	__u32 off = l4_off + (is_udp ? __builtin_offsetof(struct udphdr, check)
				     : __builtin_offsetof(struct tcphdr, check));
	__u16 check;

	(void)is_v6;
	if (hook_load(ctx, off, &check, sizeof(check)))
		return -1;
	if (is_udp && !check)
		return 0; /* the sender left it out */
	check = hook_new_check(check, addr_diff, port_diff, is_udp);
	return hook_store(ctx, off, &check, sizeof(check));
}

#endif
