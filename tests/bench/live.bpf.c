// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What tests/bench/live.c puts on the devices: a generator of segments, the programs that a
 * gate is compared with, and the end of the way, which counts.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "target.h"

#define WORDS 7 /* 56 bytes: Ethernet, IPv4, TCP and 2 of payload */

__u64 headers[WORDS];
__u32 count, flow_mask, first_port, out_ifindex;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

/* These two take only programs that are all aware of fragments, or none. */
#define DEVICE(name_)                                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_DEVMAP);                                                 \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, __u32);                                                              \
	} name_ SEC(".maps")

DEVICE(device);
DEVICE(device_frags);

TARGET(empty);
TARGET(gate);
TARGET(gate_frags);

/* Run with BPF_F_TEST_XDP_LIVE_FRAMES: each run sends a frame. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 *frame = data;
	__u16 port;

	if (data + WORDS * 8 > end)
		return XDP_ABORTED;
#pragma GCC unroll 7
	for (int i = 0; i < WORDS; i++)
		frame[i] = headers[i];
	port = first_port + (count++ & flow_mask);
	*(__u16 *)(data + 34) = port >> 8 | port << 8;
	return bpf_redirect(out_ifindex, 0);
}

SEC("xdp")
int arrive(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&arrived, &zero);

	(void)ctx;
	if (n)
		++*n;
	return XDP_DROP;
}

SEC("xdp")
int bare_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("xdp")
int bare_redirect(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect_map(&device, 0, 0);
}

/*
 * The program in an array, and what it passes is redirected: from a subprogram control comes
 * back.
 */
#define CALL_REDIRECT(target_, device_, call_, name_, section_)                                    \
	static __noinline int call_(struct xdp_md *ctx)                                            \
	{                                                                                          \
		int miss = XDP_ABORTED; /* opaque, or clang folds the verdict */                   \
                                                                                                   \
		asm volatile("" ::: "memory");                                                     \
		bpf_tail_call(ctx, &target_, 0);                                                   \
		asm volatile("" : "+r"(miss));                                                     \
		return miss;                                                                       \
	}                                                                                          \
	SEC(section_) int name_(struct xdp_md *ctx)                                                \
	{                                                                                          \
		int verdict = call_(ctx);                                                          \
                                                                                                   \
		return verdict == XDP_PASS ? bpf_redirect_map(&device_, 0, 0) : verdict;           \
	}

CALL_REDIRECT(empty, device, call_empty, empty_redirect, "xdp")
CALL_REDIRECT(gate, device, call_gate, gate_redirect, "xdp")
CALL_REDIRECT(gate_frags, device_frags, call_gate_frags, gate_redirect_frags, "xdp.frags")

char _license[] SEC("license") = "Dual BSD/GPL";
