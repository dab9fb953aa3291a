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

#define bpf_jiffies64		script_jiffies
#define bpf_ktime_get_ns	script_ns
#define bpf_ktime_get_coarse_ns script_ns
#define bpf_get_prandom_u32	script_random

#endif
