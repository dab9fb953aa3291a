/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_TRACE_H
#define SHUNT_BPF_TRACE_H

#include "flowmem.h"
#include "hook.h"
#include "lookup.h"
#include "parse.h"
#include "scratch.h"
#include "shunt/trace.h"

/*
 * `shunt trace`: what each stage says of a packet, gathered in a per-CPU record and handed to
 * the agent when the packet is decided, if it matches the filter. Only the objects that are
 * built with SHUNT_TRACE (tc_trace, xdp_trace) have any of this; in all others the lines below
 * are empty, so a node that is not traced runs programs that never heard of it.
 *
 * Each is one statement in its stage and takes scalars where it can: the functions behind are
 * verified by themselves, with frames of their own, so that the stages' stack stays as it is.
 */
#ifdef SHUNT_TRACE

/*
 * Maps of the tracing objects alone: made when a tracing begins, gone when it ends, never pinned.
 */

/*
 * tracing_filter - which packets are told, and how many
 *
 * Key:    0
 * Value:  struct shunt_trace_filter
 * Writer: agent, user/datapath/trace.c: whole at the start, single words afterwards
 * Reader: bpf/trace.h, once per packet
 * Size:   1
 */
SHUNT_ARRAY(tracing_filter, struct shunt_trace_filter, 1);

/*
 * tracing_record - the record of the packet that this CPU works on
 *
 * Key:    0
 * Value:  struct shunt_trace_event
 * Writer, Reader: bpf/trace.h; the programs run with softirqs off, so none meets another
 * Size:   1
 */
SHUNT_PERCPU_ARRAY(tracing_record, struct shunt_trace_event, 1);

/*
 * tracing_counts - how many records were told, over the rate, or lost
 *
 * Key:    0
 * Value:  struct shunt_trace_counts, per CPU
 * Writer: bpf/trace.h
 * Reader: agent
 * Size:   1
 */
SHUNT_PERCPU_ARRAY(tracing_counts, struct shunt_trace_counts, 1);

/*
 * tracing_events - records on their way to the agent
 *
 * Key, Value: none, a ring buffer of struct shunt_trace_event
 * Writer: bpf/trace.h; a record that finds no room is counted as lost
 * Reader: agent, user/datapath/trace.c
 * Size:   1 MiB, some 3900 records
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} tracing_events SEC(".maps");

static __always_inline struct shunt_trace_event *trace_event(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tracing_record, &zero);
}

/* A packet begins. @direction: enum shunt_trace_direction. */
__attribute__((noinline)) int trace_begin(hook_ctx *ctx, __u32 direction)
{
	struct shunt_trace_event *e = trace_event();
	const struct ethhdr *eth = hook_data(ctx);

	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = bpf_ktime_get_ns();
	e->cpu = bpf_get_smp_processor_id();
	e->ifindex = hook_ifindex(ctx);
	e->segments = hook_segments(ctx);
	e->hook = HOOK_IS_XDP ? SHUNT_TRACE_XDP : SHUNT_TRACE_TC;
	e->direction = direction;
	if ((void *)(eth + 1) <= hook_end(ctx))
		e->eth_proto_be = eth->h_proto;
	return 0;
}

/* The headers, as far as they could be read. Inline: a packet holds pointers. */
static __always_inline void trace_parse(const struct packet *pkt, __u32 reason)
{
	struct shunt_trace_event *e = trace_event();

	if (!e)
		return;
	e->in = pkt->tuple;
	e->tcp = pkt->tcp;
	e->ip_bytes = pkt->ip_bytes;
	e->said[SHUNT_TRACE_PARSE] = reason;
	e->stages |= 1 << SHUNT_TRACE_PARSE;
}

/* @part: enum place_part */
static __always_inline void trace_part(__u32 part)
{
	struct shunt_trace_event *e = trace_event();

	if (e)
		e->part = part;
}

/* A stage has come to @reason. Inline: @stage is a constant. */
static __always_inline void trace_said(enum shunt_trace_stage stage, __u32 reason)
{
	struct shunt_trace_event *e = trace_event();

	if (!e)
		return;
	e->said[stage] = reason;
	e->stages |= 1 << stage;
}

/* @target: as target_pack() made it */
__attribute__((noinline)) int trace_lookup(__u64 target, __u32 reason)
{
	struct shunt_trace_event *e = trace_event();

	if (!e)
		return 0;
	e->service = target >> 32;
	e->is_backend = target >> 9 & 1;
	trace_said(SHUNT_TRACE_LOOKUP, reason);
	return 0;
}

/* What the flow table knows, before the packet changes it. @ref: 0: nothing */
__attribute__((noinline)) int trace_flow(__u64 ref)
{
	const struct shunt_flow *flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	struct shunt_trace_event *e = trace_event();
	__u32 now = bpf_jiffies64();

	if (!e)
		return 0;
	e->stages |= 1 << SHUNT_TRACE_CONNTRACK;
	if (!flow) {
		e->is_new = e->direction == SHUNT_TRACE_INGRESS && !e->quoted.proto;
		return 0;
	}
	e->flow = SHUNT_FT_INDEX(ref) + 1;
	e->state = SHUNT_LIFE_STATE(SHUNT_FT_LIFE(ref));
	e->flow_flags = flow->flags;
	e->gate_ifindex = flow->gate_ifindex;
	e->age_jiffies = now - flow->created_jiffies;
	e->idle_jiffies = now - flow->seen_jiffies;
	e->backend = flow->backend;
	e->variant = flow->variant;
	if (!e->service)
		e->service = flow->service;
	return 0;
}

/* The entry was of no use and went: what follows is a new flow. */
static __always_inline void trace_stale(void)
{
	struct shunt_trace_event *e = trace_event();

	if (!e)
		return;
	e->is_stale = 1;
	e->is_new = 1;
	e->backend = 0;
	e->variant = 0;
}

/* @kept: as affinity_find() said */
__attribute__((noinline)) int trace_affinity(__u64 kept)
{
	struct shunt_trace_event *e = trace_event();

	if (!e)
		return 0;
	e->is_kept = kept != 0;
	e->variant = kept >> 32;
	e->backend = kept;
	e->stages |= 1 << SHUNT_TRACE_AFFINITY;
	return 0;
}

/* @split: where it was chosen; its weights are read now, for the record may be reused later */
__attribute__((noinline)) int trace_variant(__u32 split_index, __u64 hash, __u32 variant,
					    __u32 reason)
{
	const struct shunt_split *split = bpf_map_lookup_elem(&shunt_splits, &split_index);
	struct shunt_trace_event *e = trace_event();

	if (!e || !split)
		return 0;
	e->hash = hash;
	e->split = split_index;
	e->variant = variant;
#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_MAX_VARIANTS; i++) {
		__u32 weight = split->variant[i].weight;

		if ((__u32)i >= split->n_variants)
			break;
		e->weights += weight;
		if (split->variant[i].variant == variant)
			e->weight = weight;
	}
	trace_said(SHUNT_TRACE_VARIANT, reason);
	return 0;
}

__attribute__((noinline)) int trace_backend(__u32 backend, __u32 reason)
{
	struct shunt_trace_event *e = trace_event();

	if (!e)
		return 0;
	e->backend = backend;
	trace_said(SHUNT_TRACE_BACKEND, reason);
	return 0;
}

/* The flow's entry was made, or why not. @ref: 0: it was not */
__attribute__((noinline)) int trace_entry(__u64 ref, __u32 reason)
{
	const struct shunt_flow *flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	struct shunt_trace_event *e = trace_event();

	if (!e)
		return 0;
	if (flow) {
		e->flow = SHUNT_FT_INDEX(ref) + 1;
		e->flow_flags = flow->flags;
		e->gate_ifindex = flow->gate_ifindex;
	}
	trace_said(SHUNT_TRACE_ENTRY, reason);
	return 0;
}

static __always_inline void trace_becomes(struct shunt_trace_event *e,
					  const struct shunt_flow *flow, __u32 reverse)
{
	e->out.proto = flow->proto;
	e->out.family = flow->family;
	e->out.src.word_be[3] = SHUNT_PICK(reverse, flow->source_lo_be, flow->frontend_lo_be);
	e->out.dst.word_be[3] = SHUNT_PICK(reverse, flow->backend_lo_be, flow->client_lo_be);
	e->out.sport_be = SHUNT_PICK(reverse, flow->source_port_be, flow->frontend_port_be);
	e->out.dport_be = SHUNT_PICK(reverse, flow->backend_port_be, flow->client_port_be);
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		e->out.src.word_be[w] =
			SHUNT_PICK(reverse, flow->source_hi_be[w], flow->frontend_hi_be[w]);
		e->out.dst.word_be[w] =
			SHUNT_PICK(reverse, flow->backend_hi_be[w], flow->client_hi_be[w]);
	}
	e->stages |= 1 << SHUNT_TRACE_REWRITE;
}

/* The packet is about to be rewritten. @ref, @reverse: as for rewrite_packet() */
__attribute__((noinline)) int trace_rewrite(__u64 ref, __u32 reverse)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	struct shunt_trace_event *e = trace_event();

	if (e && flow)
		trace_becomes(e, flow, reverse);
	return 0;
}

/* The same, by the flow in the scratch, which has no entry (placed.h). */
__attribute__((noinline)) int trace_placed(__u32 reverse)
{
	struct shunt_trace_event *e = trace_event();
	const struct scratch *s = scratch_get();

	if (!e || !s)
		return 0;
	e->backend = s->flow.backend;
	e->variant = s->flow.variant;
	e->service = s->flow.service;
	e->gate_ifindex = s->flow.gate_ifindex;
	trace_becomes(e, &s->flow, reverse);
	return 0;
}

/* What is counted for the packet. */
static __always_inline void trace_reason(__u32 reason)
{
	struct shunt_trace_event *e = trace_event();

	if (e)
		e->reason = reason;
}

/* An ICMP error that quotes @tuple, turned round so that it goes the error's own way. */
__attribute__((noinline)) int trace_quoted(const struct shunt_tuple *tuple)
{
	struct shunt_trace_event *e = trace_event();

	if (e && tuple)
		e->quoted = *tuple;
	return 0;
}

/* ---- what is told -------------------------------------------------------------------------- */

static __always_inline int trace_in_net(const struct shunt_addr *addr,
					const struct shunt_trace_net *net)
{
	return !(((addr->word_be[0] ^ net->addr.word_be[0]) & net->mask.word_be[0]) |
		 ((addr->word_be[1] ^ net->addr.word_be[1]) & net->mask.word_be[1]) |
		 ((addr->word_be[2] ^ net->addr.word_be[2]) & net->mask.word_be[2]) |
		 ((addr->word_be[3] ^ net->addr.word_be[3]) & net->mask.word_be[3]));
}

static __always_inline const struct shunt_trace_filter *trace_filter(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tracing_filter, &zero);
}

/* Does one tuple fulfil all that the filter asks of one? */
__attribute__((noinline)) int trace_fits(const struct shunt_tuple *t)
{
	const struct shunt_trace_filter *filter = trace_filter();
	const struct shunt_trace_tuple_filter *f;

	if (!filter || !t || !t->proto)
		return 0;
	f = &filter->tuple;
	if ((f->proto && f->proto != t->proto) || (f->family && f->family != t->family + 1) ||
	    (f->sport_be && f->sport_be != t->sport_be) ||
	    (f->dport_be && f->dport_be != t->dport_be) || !trace_in_net(&t->src, &f->src) ||
	    !trace_in_net(&t->dst, &f->dst))
		return 0;
#pragma GCC unroll 2
	for (int i = 0; i < SHUNT_TRACE_ADDRS; i++) {
		if (f->port_be[i] && f->port_be[i] != t->sport_be && f->port_be[i] != t->dport_be)
			return 0;
		if (!trace_in_net(&t->src, &f->host[i]) && !trace_in_net(&t->dst, &f->host[i]))
			return 0;
	}
	return 1;
}

static __always_inline int trace_is_of_service(const struct shunt_trace_filter *filter,
					       __u32 service)
{
#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_TRACE_SERVICES; i++)
		if ((__u32)i < filter->n_services && filter->service[i] == service)
			return 1;
	return 0;
}

/* Does the gathered record match? The tuples are: as it came, as it left, what it quotes. */
__attribute__((noinline)) int trace_matches(void)
{
	const struct shunt_trace_filter *filter = trace_filter();
	const struct shunt_trace_event *e = trace_event();
	__u32 conditions;

	if (!filter || !e || e->time_ns > filter->until_ns)
		return 0;
	conditions = filter->conditions;
	if ((conditions & SHUNT_TRACE_IF_REASON && e->reason != filter->reason) ||
	    (conditions & SHUNT_TRACE_IF_GATE && e->ifindex != filter->ifindex) ||
	    (conditions & SHUNT_TRACE_IF_NEW && !e->is_new) ||
	    (conditions & SHUNT_TRACE_IF_SERVICE && !trace_is_of_service(filter, e->service)))
		return 0;
	return !(conditions & SHUNT_TRACE_IF_TUPLE) || trace_fits(&e->in) || trace_fits(&e->out) ||
	       trace_fits(&e->quoted);
}

/* Is the record within the rate? Whole seconds of the clock, each with its allowance. */
static __always_inline int trace_is_allowed(struct shunt_trace_counts *counts, __u64 now_ns)
{
	const struct shunt_trace_filter *filter = trace_filter();
	__u64 second = now_ns / 1000000000;

	if (!filter)
		return 0;
	if (counts->second != second) {
		counts->second = second;
		counts->in_second = 0;
	}
	if (counts->in_second >= filter->rate) {
		counts->limited++;
		return 0;
	}
	counts->in_second++;
	return 1;
}

/* The packet is decided; its reason has been noted. @verdict: what the program returns */
__attribute__((noinline)) int trace_finish(int verdict)
{
	struct shunt_trace_event *e = trace_event();
	struct shunt_trace_counts *counts;
	const struct shunt_flow *flow;
	__u32 zero = 0;

	if (!e)
		return 0;
	e->verdict = verdict;
	flow = e->flow ? shunt_ft_flow(FT, e->flow - 1) : NULL;
	if (flow)
		e->state_after = SHUNT_LIFE_STATE(SHUNT_READ_ONCE(flow->life));
	e->took_ns = bpf_ktime_get_ns() - e->time_ns;
	counts = bpf_map_lookup_elem(&tracing_counts, &zero);
	if (!counts || !trace_matches() || !trace_is_allowed(counts, e->time_ns))
		return 0;
	if (bpf_ringbuf_output(&tracing_events, e, sizeof(*e), 0))
		counts->lost++;
	else
		counts->told++;
	return 0;
}

#define TRACE_BEGIN(ctx, direction)		    trace_begin(ctx, direction)
#define TRACE_PARSE(pkt, reason)		    trace_parse(pkt, reason)
#define TRACE_PART(part)			    trace_part(part)
#define TRACE_LOOKUP(target, reason)		    trace_lookup(target_pack(target), reason)
#define TRACE_SAID(stage, reason)		    trace_said(stage, reason)
#define TRACE_FLOW(ref)				    trace_flow(ref)
#define TRACE_STALE()				    trace_stale()
#define TRACE_AFFINITY(kept)			    trace_affinity(kept)
#define TRACE_VARIANT(split, hash, variant, reason) trace_variant(split, hash, variant, reason)
#define TRACE_BACKEND(backend, reason)		    trace_backend(backend, reason)
#define TRACE_ENTRY(ref, reason)		    trace_entry(ref, reason)
#define TRACE_REWRITE(ref, reverse)		    trace_rewrite(ref, reverse)
#define TRACE_PLACED(reverse)			    trace_placed(reverse)
#define TRACE_QUOTED(tuple)			    trace_quoted(tuple)
#define TRACE_REASON(reason)			    trace_reason(reason)
#define TRACE_FINISH(verdict)			    trace_finish(verdict)

#else

#define TRACE_BEGIN(...)    ((void)0)
#define TRACE_PARSE(...)    ((void)0)
#define TRACE_PART(...)	    ((void)0)
#define TRACE_LOOKUP(...)   ((void)0)
#define TRACE_SAID(...)	    ((void)0)
#define TRACE_FLOW(...)	    ((void)0)
#define TRACE_STALE(...)    ((void)0)
#define TRACE_AFFINITY(...) ((void)0)
#define TRACE_VARIANT(...)  ((void)0)
#define TRACE_BACKEND(...)  ((void)0)
#define TRACE_ENTRY(...)    ((void)0)
#define TRACE_REWRITE(...)  ((void)0)
#define TRACE_PLACED(...)   ((void)0)
#define TRACE_QUOTED(...)   ((void)0)
#define TRACE_REASON(...)   ((void)0)
#define TRACE_FINISH(...)   ((void)0)

#endif

#endif
