// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Measures any program by BPF_PROG_TEST_RUN with many repeats.
 *
 * A test run does not restore the packet between repeats, so that a program that translates
 * would see its own output from the second one on. This wrapper writes the headers back,
 * stamps one of N flows into them (the client's port, and its address above 32 768 flows; the
 * backend's address into answers), tail-calls the program from a subprogram, so that control
 * comes back here, and counts its verdicts. On demand it first takes a flow's entry back to
 * where it was before the packet. What the wrapper itself costs, all of that included, is
 * measured around an empty program. All that meet in one program array must be of one kind: with
 * fragments, as the shipped program is.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shunt/abi.h"
#include "target.h"
#include "undo.h"

#define WORDS_V4 7  /* 56 bytes: Ethernet, IPv4, TCP and 2 of payload */
#define WORDS_V6 10 /* 80 bytes: Ethernet, IPv6, TCP and 6 of payload */

TARGET(target);
TARGET(target_tc);

/* The flow table of the program that is measured. */
#define TABLE(name_, value_)                                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, value_);                                                             \
	} name_ SEC(".maps")

TABLE(shunt_flow_sets, struct shunt_flow_set);
TABLE(shunt_flows, struct shunt_flow);
TABLE(shunt_reply_sets, struct shunt_reply_set);

__u64 headers[WORDS_V6];
__u64 verdicts[8];
__u32 count, flow_mask, client_be, multiplier;
__u32 services, service_first; /* above 1: the flow's destination, from this address on */
__u32 backend_be[4];
__u8 backend_of[65536]; /* flow -> backend_be */

struct undo undo;

static __always_inline void take_back(void)
{
	__u32 set_index = undo.flow / SHUNT_FLOW_WAYS, flow_index = undo.flow;
	__u32 reply_index = undo.reply_way / SHUNT_REPLY_WAYS;
	struct shunt_flow_set *set = bpf_map_lookup_elem(&shunt_flow_sets, &set_index);
	struct shunt_flow *flow = bpf_map_lookup_elem(&shunt_flows, &flow_index);
	struct shunt_reply_set *reply = bpf_map_lookup_elem(&shunt_reply_sets, &reply_index);

	if (!set || !flow || !reply)
		return;
	reply->way[undo.reply_way & (SHUNT_REPLY_WAYS - 1)] = undo.reply;
	set->tag[undo.flow & (SHUNT_FLOW_WAYS - 1)] = undo.tag;
	flow->life = SHUNT_LIFE_GEN(flow->life) | undo.state;
}

static __noinline int call_target(struct xdp_md *ctx)
{
	int miss = 6; /* opaque, or clang folds the verdict to a constant */

	asm volatile("" ::: "memory");
	bpf_tail_call(ctx, &target, 0);
	asm volatile("" : "+r"(miss));
	return miss;
}

static __noinline int call_target_tc(struct __sk_buff *ctx)
{
	int miss = 6;

	asm volatile("" ::: "memory");
	bpf_tail_call(ctx, &target_tc, 0);
	asm volatile("" : "+r"(miss));
	return miss;
}

/* Writes the headers and stamps a client's flow. Return: the flow, or -1. */
static __always_inline long stamp(void *data, void *end, int words, int addr_off, int port_off)
{
	__u64 *frame = data;
	__u32 flow;

	if (data + words * 8 > end)
		return -1;
	if (undo.on)
		take_back();
#pragma GCC unroll 10
	for (int i = 0; i < words; i++)
		frame[i] = headers[i];
	/* An odd multiplier walks all flows once, in an order that no prefetcher knows. */
	flow = count++ * multiplier & flow_mask;
	if (flow_mask) {
		__u16 port = 1024 + (flow & 0x7fff);

		*(__u32 *)(data + addr_off) = client_be + (flow >> 15 << 16);
		*(__u16 *)(data + port_off) = port >> 8 | port << 8;
	}
	return flow;
}

static __always_inline int run(struct xdp_md *ctx, int words, int saddr_off, int sport_off)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	long flow;
	int verdict;

	flow = stamp(data, end, words, saddr_off, sport_off);
	if (flow < 0)
		return XDP_ABORTED;
	if (services > 1 && data + 34 <= end)
		*(__u32 *)(data + 30) = bpf_htonl(service_first + (__u32)flow % services);
	verdict = call_target(ctx);
	verdicts[verdict & 7]++;
	return verdict;
}

SEC("xdp.frags")
int wrap_v4(struct xdp_md *ctx)
{
	return run(ctx, WORDS_V4, 26, 34);
}

SEC("xdp.frags")
int wrap_v6(struct xdp_md *ctx)
{
	return run(ctx, WORDS_V6, 34, 54);
}

/* IPv4 answers. */
SEC("tc")
int wrap_answer(struct __sk_buff *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	long flow = stamp(data, end, WORDS_V4, 30, 36);
	int verdict;

	if (flow < 0)
		return TC_ACT_SHOT;
	if (flow_mask && data + 30 <= end)
		*(__u32 *)(data + 26) = backend_be[backend_of[flow & 0xffff] & 3];
	verdict = call_target_tc(ctx);
	verdicts[verdict & 7]++; /* UNSPEC, which is -1, is 7 */
	return verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
