// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Measures any XDP program by BPF_PROG_TEST_RUN with many repeats.
 *
 * A test run does not restore the packet between repeats, so that a program that translates
 * would see its own output from the second one on. This wrapper writes the headers back,
 * stamps one of N flows into them (source port, and the source address above 32 768 flows),
 * tail-calls the program from a subprogram, so that control comes back here, and counts its
 * verdicts. What the wrapper itself costs is measured around an empty program.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define WORDS_V4 7  /* 56 bytes: Ethernet, IPv4, TCP and 2 of payload */
#define WORDS_V6 10 /* 80 bytes: Ethernet, IPv6, TCP and 6 of payload */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

__u64 headers[WORDS_V6];
__u64 verdicts[8];
__u32 count, flow_mask, saddr_be, multiplier;

static __noinline int call_target(struct xdp_md *ctx)
{
	int miss = 7; /* opaque, or clang folds the verdict to a constant */

	asm volatile("" ::: "memory");
	bpf_tail_call(ctx, &target, 0);
	asm volatile("" : "+r"(miss));
	return miss;
}

static __always_inline int run(struct xdp_md *ctx, int words, int saddr_off, int sport_off)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 *frame = data;
	__u32 flow;
	int verdict;

	if (data + words * 8 > end)
		return XDP_ABORTED;
#pragma GCC unroll 10
	for (int i = 0; i < words; i++)
		frame[i] = headers[i];
	/* An odd multiplier walks all flows once, in an order that no prefetcher knows. */
	flow = count++ * multiplier & flow_mask;
	if (flow_mask) {
		__u16 port = 1024 + (flow & 0x7fff);

		*(__u32 *)(data + saddr_off) = saddr_be + (flow >> 15 << 16);
		*(__u16 *)(data + sport_off) = port >> 8 | port << 8;
	}
	verdict = call_target(ctx);
	verdicts[verdict & 7]++;
	return verdict;
}

SEC("xdp")
int wrap_v4(struct xdp_md *ctx)
{
	return run(ctx, WORDS_V4, 26, 34);
}

SEC("xdp")
int wrap_v6(struct xdp_md *ctx)
{
	return run(ctx, WORDS_V6, 34, 54);
}

char _license[] SEC("license") = "Dual BSD/GPL";
