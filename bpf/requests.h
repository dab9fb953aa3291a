/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_REQUESTS_H
#define SHUNT_BPF_REQUESTS_H

#include "gate.h"
#include "guard.h"
#include "limit.h"
#include "maps.h"
#include "scratch.h"
#include "shunt/http.h"

/*
 * Are the requests that begin in a segment let in? Asked before the segment goes on, once for each
 * turn of HTTP/1 and for all streams of HTTP/2 that begin in it; other packets are not asked.
 *
 * A connection whose request is refused is over for both sides: shunt_http then says what either
 * is told (canned.h), and its entry is closed.
 */

/* What signals_peek() says of a packet. */
enum requests_said {
	REQUESTS_GO_ON,
	REQUESTS_DROPPED, /* to be asked again when it is sent again */
	REQUESTS_REFUSED, /* one begins here that ended the connection, */
	REQUESTS_BROKEN,  /* by a circuit breaker */
	REQUESTS_BEHIND,  /* one had ended it */
};

#ifdef HOOK_ANY_OFFSET

/**
 * requests_admit - may the requests go on that begin in the segment in the scratch?
 * @index: of their flow
 *
 * Who has not proved its address is not asked: its backend drops what it says. A breaker is asked
 * first: what it refuses takes nothing from a limit.
 *
 * Return: 0, or as limit_take(), or a breaker's response code, at least 100.
 */
__attribute__((noinline)) int requests_admit(hook_ctx *ctx, __u32 index)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	const struct shunt_policy_record *p;
	const struct shunt_http *http;
	struct scratch *s = scratch_get();
	__u32 policy, first, code;

	if (!settings || !flow || !s)
		return 0;
	if (shunt_ft_is_half_open(SHUNT_LIFE_STATE(flow->life)) ||
	    !gate_is_for_us(ctx, gate_find(hook_ifindex(ctx))))
		return 0;
	http = bpf_map_lookup_elem(&shunt_http, &index);
	code = guard_admit_request(flow->variant, flow->backend, http && !http->backend_next);
	if (code)
		return code;
	policy = lookup_policy(flow->service, SHUNT_READ_ONCE(settings->epoch) & 1);
	p = bpf_map_lookup_elem(&shunt_policies, &policy);
	if (!p || !p->n_request)
		return 0;
	limit_known(s, flow, s->begun);
	first = p->n_before + p->n_behind + p->n_packet;
	return limit_rates(policy, first, first + p->n_request);
}

/* Whole seconds until a refused request would be admitted, at least 1. */
static __always_inline __u32 requests_retry(__u64 wait_ns)
{
	if (wait_ns >= 1000000000 * SHUNT_NS_PER_S)
		return 999999999;
	return wait_ns ? (wait_ns + SHUNT_NS_PER_S - 1) / SHUNT_NS_PER_S : 1;
}

/*
 * Has the client all that its backend has sent? Only then an answer of our own stands behind whole
 * responses. What pipelines requests into one that is paused, Shunt cannot tell.
 */
static __always_inline int requests_is_turn(const struct shunt_http *http,
					    const struct shunt_flow *flow, __u32 ack)
{
	return ack == (http->backend_next ? http->backend_next : flow->backend_isn + 1);
}

/* The entry is over. Twice: a FIN may have changed it meanwhile, on another CPU. */
static __always_inline void requests_close(__u32 index, const struct shunt_flow *flow)
{
	__u32 life = SHUNT_READ_ONCE(flow->life), gen = SHUNT_LIFE_GEN(life);

	if (shunt_ft_change(FT, index, life, SHUNT_F_CLOSED))
		return;
	life = SHUNT_READ_ONCE(flow->life);
	if (SHUNT_LIFE_GEN(life) == gen && SHUNT_LIFE_STATE(life) != SHUNT_F_FREE)
		shunt_ft_change(FT, index, life, SHUNT_F_CLOSED);
}

/**
 * requests_refuse - the segment in the scratch, in which a request begins, does not go on
 * @over: as requests_admit() said
 *
 * HTTP/2 and who is in the middle of a response are reset, whatever the limit's answer.
 *
 * Return: REQUESTS_DROPPED, REQUESTS_REFUSED or REQUESTS_BROKEN.
 */
static __always_inline int requests_refuse(hook_ctx *ctx, __u32 index, struct shunt_http *http,
					   int over)
{
	struct shunt_flow *flow = shunt_ft_flow(FT, index);
	const struct scratch *s = scratch_get();
	int code = over == SHUNT_LIMIT_429 + 1 ? 429 : over;
	__be32 ack;

	if (!flow || !s)
		return REQUESTS_DROPPED;
	if (http->protocol == SHUNT_HTTP_1 && over == SHUNT_LIMIT_DROP + 1) {
		http->client_next = s->segment.seq;
		http->turn = SHUNT_HTTP_NOBODY;
		return REQUESTS_DROPPED;
	}
	http->code = 0;
	if (http->protocol == SHUNT_HTTP_1 && code >= 100 &&
	    !hook_load(ctx, s->tcp_off + __builtin_offsetof(struct tcphdr, ack_seq), &ack,
		       sizeof(ack)) &&
	    requests_is_turn(http, flow, bpf_ntohl(ack))) {
		http->code = code;
		http->answer_seq = bpf_ntohl(ack);
		http->retry_seconds = over >= 100 ? 0 : requests_retry(s->limited.wait_ns);
	}
	http->refused_seq = s->segment.seq;
	http->turn = SHUNT_HTTP_NOBODY;
	http->protocol = SHUNT_HTTP_ENDED;
	requests_close(index, flow);
	return over >= 100 ? REQUESTS_BROKEN : REQUESTS_REFUSED;
}

/* Of a packet without payload: is it of a connection that a refused request has ended? */
static __always_inline int requests_is_over(__u32 index)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	const struct shunt_http *http;

	/* The first line of the entry tells nearly always. */
	if (!flow || SHUNT_LIFE_STATE(flow->life) == SHUNT_F_ESTABLISHED)
		return REQUESTS_GO_ON;
	http = bpf_map_lookup_elem(&shunt_http, &index);
	return http && http->protocol == SHUNT_HTTP_ENDED &&
			       http->life == SHUNT_LIFE_GEN(flow->life)
		       ? REQUESTS_BEHIND
		       : REQUESTS_GO_ON;
}

#endif

#endif
