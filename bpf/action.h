/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_ACTION_H
#define SHUNT_BPF_ACTION_H

#include "maps.h"
#include "reject.h"
#include "route.h"
#include "trace.h"

#ifdef HOOK_ANY_OFFSET
#include "rare_reject.h"
#else
#define rare_reject(ctx, why) (-1) /* nothing of that kind is rejected */
#endif

/* The only place that turns a reason into a verdict, and that counts. */

static __always_inline void action_count(enum shunt_reason reason)
{
	__u32 key = reason;
	struct shunt_reason_count *count = bpf_map_lookup_elem(&shunt_reasons, &key);

	TRACE_REASON(reason);
	if (count)
		count->packets++;
}

/* A translated packet of a flow. @is_new: the first of it. */
static __always_inline void action_count_in(hook_ctx *ctx, __u32 ip_bytes, __u32 backend,
					    int is_new)
{
	struct shunt_counters *c = bpf_map_lookup_elem(&shunt_backend_counters, &backend);

	if (!c)
		return;
	c->packets_in += hook_segments(ctx);
	c->bytes_in += ip_bytes;
	c->connections += is_new;
}

/* A restored answer of a flow. */
static __always_inline void action_count_out(hook_ctx *ctx, __u32 ip_bytes, __u32 backend)
{
	struct shunt_counters *c = bpf_map_lookup_elem(&shunt_backend_counters, &backend);

	if (!c)
		return;
	c->packets_out += hook_segments(ctx);
	c->bytes_out += ip_bytes;
}

static __always_inline void action_count_reject(__u32 variant)
{
	struct shunt_counters *c;

	if (!variant)
		return;
	c = bpf_map_lookup_elem(&shunt_variant_counters, &variant);
	if (c)
		c->rejects++;
}

/* What a reason means for the packet: one line of the X-macro each. */
static __always_inline enum shunt_action action_of(enum shunt_reason reason)
{
	switch (reason) {
#define ACTION_CASE(name, action, text)                                                            \
	case SHUNT_R_##name:                                                                       \
		return SHUNT_A_##action;
		SHUNT_REASONS(ACTION_CASE)
#undef ACTION_CASE
	default:
		return SHUNT_A_PASS;
	}
}

/* What the sender of a packet that is to be rejected is told. */
static __always_inline enum reject_why action_why(enum shunt_reason reason)
{
	if (reason == SHUNT_R_TOO_BIG)
		return REJECT_TOO_BIG;
	if (reason == SHUNT_R_LIMITED || reason == SHUNT_R_IN_FLIGHT ||
	    reason == SHUNT_R_SOURCE_DENIED)
		return REJECT_PROHIBITED;
	return reason == SHUNT_R_HOP_LIMIT ? REJECT_HOP_LIMIT : REJECT_REFUSED;
}

/* Makes the answer. Return: as reject_packet(). */
static __always_inline int action_answer(hook_ctx *ctx, enum reject_why why)
{
	__u32 family = parse_family(ctx);
	int r = REJECT_ODD;

	/* Partial checksums are known there. */
	if (!REJECT_TELLS && !reject_is_refusal(why))
		return rare_reject(ctx, why);
	if (family == SHUNT_V4)
		r = reject_v4(ctx, why);
	else if (family == SHUNT_V6)
		r = reject_v6(ctx, why);
	return r == REJECT_ODD ? rare_reject(ctx, why) : r;
}

/*
 * Answers a packet that is to be rejected. It counts for its variant also when this CPU may not
 * answer any more. One that was refused nothing, but cannot go on, counts for none.
 */
static __always_inline int action_reject(hook_ctx *ctx, enum shunt_reason reason, __u32 variant)
{
	enum reject_why why = action_why(reason);
	int r = action_answer(ctx, why);

	if (r == REJECT_NOT_OURS) {
		action_count(SHUNT_R_OTHER_HOST);
		return HOOK_PASS;
	}
	if (reject_is_refusal(why))
		action_count_reject(variant);
	action_count(r == REJECT_LIMITED && reject_is_refusal(why) ? SHUNT_R_ANSWER_LIMIT : reason);
	return r ? HOOK_DROP : hook_bounce(ctx);
}

/**
 * action_finish - count the reason and give the hook's verdict
 * @variant: whose share a reject belongs to, or 0
 *
 * A packet that is to be rejected must not have been rewritten.
 */
static __always_inline int action_finish(hook_ctx *ctx, enum shunt_reason reason, __u32 variant)
{
	enum shunt_action action = action_of(reason);

	if (action == SHUNT_A_REJECT)
		return action_reject(ctx, reason, variant);
	action_count(reason);
	/* Translated or not, what is not dropped goes on through the stack. */
	return action == SHUNT_A_DROP ? HOOK_DROP : HOOK_PASS;
}

/* As action_finish(), for a rewritten packet that leaves as the scratch says (route.h). */
__attribute__((noinline)) int action_send(hook_ctx *ctx, enum shunt_reason reason)
{
	action_count(route_reason(reason));
	return route_send(ctx);
}

#endif
