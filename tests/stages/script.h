/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_TESTS_STAGES_SCRIPT_H
#define SHUNT_TESTS_STAGES_SCRIPT_H

/*
 * What a program learns from neither its packet nor its maps, scripted alike for the kernel's
 * build (diff_*.bpf.c) and for ours: so that a run is a function of its seed. All else that a
 * helper does is the kernel's own there, and shim.c here.
 */
struct script {
	__u64 jiffies;
	__u32 random; /* the next one; each is followed by another */
	__u32 routes; /* what script_fib_lookup() answers: 4 bits for each of 8 destinations */
	__u32 gates[2];
};

#ifdef __bpf__
/* Global data: the driver maps it. */
volatile struct script script;
#else
extern struct script script;
#endif

static inline __attribute__((always_inline, unused)) __u64 script_jiffies(void)
{
	return script.jiffies;
}

/* 4 ms to a jiffy, as with HZ = 250. */
static inline __attribute__((always_inline, unused)) __u64 script_ns(void)
{
	return script.jiffies * 4000000;
}

static inline __attribute__((always_inline, unused)) __u32 script_random(void)
{
	script.random = script.random * 1664525 + 1013904223;
	return script.random;
}

/*
 * Routes, in place of the kernel's: a test run has none that both sides could ask. The answer
 * depends on the destination's last bits; all that a program gets from one is filled.
 */
static inline __attribute__((always_inline, unused)) long
script_fib_lookup(void *ctx, struct bpf_fib_lookup *fib, int len, __u32 flags)
{
	__u32 to = fib->family == 2 ? fib->ipv4_dst : fib->ipv6_dst[3];
	__u32 answer = script.routes >> ((to >> 24 & 7) * 4) & 15;
	/* The frames of the corpus are short. */
	__u32 mtu = script.routes ? 56 + (script.routes >> 16 & 127) : 1500;
	int is_short;

	(void)ctx;
	(void)len;
	(void)flags;
	fib->ifindex = answer & 1 ? script.gates[1] : script.gates[0];
	if (answer > 0 && answer < 10)
		return answer; /* BPF_FIB_LKUP_RET_BLACKHOLE .. FRAG_NEEDED, and one that is new */
	__builtin_memset(fib->smac, 0x12, sizeof(fib->smac));
	__builtin_memset(fib->dmac, 0x22, sizeof(fib->dmac));
	is_short = fib->tot_len <= mtu;
	fib->mtu_result = mtu;
	return is_short ? 0 : BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/* With arguments: the struct has the same name. */
#define bpf_fib_lookup(ctx, fib, len, flags) script_fib_lookup(ctx, fib, len, flags)
#define bpf_jiffies64			     script_jiffies
#define bpf_ktime_get_ns		     script_ns
#define bpf_ktime_get_coarse_ns		     script_ns
#define bpf_get_prandom_u32		     script_random

#endif
